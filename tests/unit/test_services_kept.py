"""What a task of the folder may import, though its text is read from a copy."""

import importlib.util
import pkgutil
import py_compile
import sys

import pytest

from tomaat.scheduling.kept_tasks import KeptTasks
from tomaat.services.kept import import_from_copy


@pytest.fixture
def tasks(tmp_path, monkeypatch):
    made = tmp_path / "tasks"
    made.mkdir()
    (made / "_helper.py").write_text("VERSION = 1")
    monkeypatch.syspath_prepend(str(made))
    before = set(sys.modules)
    yield made
    for name in set(sys.modules) - before:
        del sys.modules[name]


@pytest.fixture
def keep(tasks, tmp_path):
    def keep():
        import_from_copy(tasks, KeptTasks(tasks, tmp_path / "kept").copy)

    return keep


def test_a_helper_is_what_was_kept_of_it(tasks, keep):
    keep()
    (tasks / "_helper.py").write_text("VERSION = 2")
    assert importlib.import_module("_helper").VERSION == 1


def test_a_linked_package_and_its_data_are_found(tasks, tmp_path, keep):
    package = tmp_path / "elsewhere"
    package.mkdir()
    (package / "__init__.py").write_text("VERSION = 1")
    (package / "labels.json").write_text("[]")
    (tasks / "_linked").symlink_to(package)
    keep()
    (package / "__init__.py").write_text("VERSION = 2")
    assert importlib.import_module("_linked").VERSION == 1
    assert pkgutil.get_data("_linked", "labels.json") == b"[]"


def test_a_link_that_is_not_copied_is_read_itself(tasks, tmp_path, keep):
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "module.py").write_text("VERSION = 1")
    (tasks / "_linked").symlink_to(folder)
    keep()
    assert importlib.import_module("_linked.module").VERSION == 1


def test_a_compiled_helper_is_found(tasks, keep):
    (tasks / "_compiled.so").touch()
    py_compile.compile(str(tasks / "_helper.py"), cfile=str(tasks / "_bytes.pyc"))
    keep()
    assert importlib.util.find_spec("_compiled").origin == str(tasks / "_compiled.so")
    assert importlib.import_module("_bytes").VERSION == 1
