"""A bundle's Python files run as they were when it was loaded, whatever became of them since."""

import py_compile
import sys
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("monai")
pytest.importorskip("ignite")

from tests import monai_bundles as made
from tests.integration.test_folders_bundle import one_thread, task_of
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.volumes import Volume

__all__ = ["one_thread"]

pytestmark = pytest.mark.filterwarnings("ignore")  # MONAI's own

AXES = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
SCAN = Volume(array=np.arange(24.0).reshape(2, 3, 4) * 9, spacing_mm=(1, 2, 3), origin_mm=(4, 5, 6), direction=AXES)
ROLL = "\n\n\ndef f(x):\n    return x.roll({}, 1)\n"


def write(place, late, *, target="scripts.net.Net", first="", where="scripts"):
    """Write a bundle whose network does ``late`` when it runs, and so for the first time after it was loaded."""
    made.write_bundle(place, config=made.inference(target=target))
    (place / where).mkdir()
    (place / where / "__init__.py").touch()
    (place / where / "late.py").write_text("import os" + ROLL.format(1))
    (place / where / "net.py").write_text(
        f"from monai.networks.nets import UNet\n{first}\n\n"
        "class Net(UNet):\n"
        "    def forward(self, x):\n"
        f"        {late}\n"
        "        return f(super().forward(x))\n"
    )
    return place


def found_by(task):
    return task.perform(image=SCAN)["segmentation"].volume.array


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return found_by(task_of(made.write_bundle(tmp_path_factory.mktemp("bundles") / "plain")))


@pytest.mark.parametrize(
    ("late", "first"),
    [
        ("from scripts.late import f", ""),
        ("from late import f", "import sys, os\n\nsys.path.append(os.path.dirname(__file__))"),
        ("import importlib, scripts.late; f = importlib.reload(scripts.late).f", ""),
        ("from scripts import late; import inspect; exec(inspect.getsource(late.f), d := {}); f = d['f']", ""),
    ],
)
def test_a_file_that_changed_after_the_loading_runs_as_it_was(late, first, plain, tmp_path):
    place = write(tmp_path / "tiny", late, first=first)
    task = task_of(place)
    before = list(sys.path), list(sys.path_hooks), set(sys.modules)
    (place / "scripts/late.py").write_text("import os, sys" + ROLL.format(2))
    for _ in range(2):
        assert np.array_equal(found_by(task), (plain + 1) % 3)
    assert (sys.path, sys.path_hooks) == before[:2]
    assert not {name for name in sys.modules.keys() - before[2] if "late" in name or "scripts" in name}
    assert not any(Path(entry).is_relative_to(place) for entry in sys.path_importer_cache)
    assert np.array_equal(found_by(task_of(place)), (plain + 2) % 3)


def test_a_file_that_is_gone_runs_as_it_was(plain, tmp_path):
    place = write(tmp_path / "tiny", "from scripts.late import f")
    task = task_of(place)
    (place / "scripts/late.py").unlink()
    assert np.array_equal(found_by(task), (plain + 1) % 3)


def test_a_file_that_is_new_is_not_found(tmp_path):
    for number, (module, new) in enumerate(
        [("scripts.new", "scripts/new.py"), ("new", "new.py"), ("more.new", "more/new.py")]
    ):
        place = write(tmp_path / f"b{number}", f"from {module} import f")
        task = task_of(place)
        (place / new).parent.mkdir(exist_ok=True)
        (place / new).write_text("import os" + ROLL.format(2))
        with pytest.raises(ModuleNotFoundError, match=f"No module named '{module.partition('.')[0]}"):
            found_by(task)


def test_compiled_modules_of_the_folder_are_not_imported(plain, tmp_path):
    place = write(tmp_path / "tiny", "from scripts.late import f")
    late = place / "scripts/late.py"
    late.write_text("import os" + ROLL.format(2))

    unchecked = py_compile.PycInvalidationMode.UNCHECKED_HASH
    py_compile.compile(str(late), invalidation_mode=unchecked)
    late.write_text("import os" + ROLL.format(1))
    assert np.array_equal(found_by(task_of(place)), (plain + 1) % 3)
    py_compile.compile(str(late), cfile=str(place / "scripts/late.pyc"))
    late.unlink()
    with pytest.raises(ImportError, match=r"^scripts/late\.pyc is a compiled module, and only Python files"):
        found_by(task_of(place))


def test_what_a_link_leads_to_has_no_part_in_the_hash_and_is_not_imported(tmp_path):
    place = write(tmp_path / "tiny", "pass", target="linked.net.Net", where="elsewhere")
    (place / "elsewhere").rename(tmp_path / "elsewhere")
    (place / "linked").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(FolderRefused, match="linked"):
        task_of(place)


def test_modules_and_data_of_a_bundle_are_listed_and_read(plain, tmp_path):
    late = (
        "import pkgutil, importlib.resources, scripts; "
        "assert [m.name for m in pkgutil.iter_modules(scripts.__path__, 'scripts.')] == "
        "['scripts.late', 'scripts.net']; "
        "steps = int(importlib.resources.files('scripts').joinpath('steps.txt').read_text()); "
        "f = lambda x: x.roll(steps, 1)"
    )
    place = write(tmp_path / "tiny", late)
    (place / "scripts/steps.txt").write_text("1")
    assert np.array_equal(found_by(task_of(place)), (plain + 1) % 3)
