"""The copy of the tasks' code: what comes into it, who may read it, and when it goes."""

import grp
import os
import time

import pytest

from tomaat.scheduling import kept_tasks
from tomaat.scheduling.kept_tasks import ABANDONED_SECONDS, KeptTasks, keep_tasks
from tomaat.services.find import find_tasks
from tomaat.storage import Storage


@pytest.fixture
def tasks(tmp_path):
    made = tmp_path / "tasks"
    made.mkdir()
    (made / "A.py").write_text("1")
    return made


@pytest.fixture
def keep(tasks, tmp_path):
    return lambda: KeptTasks(tasks, tmp_path / "kept")


def names(kept):
    return {str(path.relative_to(kept.copy)) for path in kept.copy.rglob("*.py")}


def test_what_is_no_file_of_code_stops_nothing(tasks, keep):
    (tasks / ".#A.py").symlink_to("somebody@somewhere.123:456")  # Emacs' lock
    (tasks / "dangling.py").symlink_to("nowhere")
    (tasks / "folder.py").mkdir()
    os.mkfifo(tasks / "pipe.py")
    (tasks / "loop.py").symlink_to("loop.py")
    (tasks / ".venv").mkdir()
    (tasks / ".venv/a.py").write_text("1")
    kept = keep()
    assert names(kept) == {"A.py"}
    assert kept.changed() == set()


def test_a_file_that_cannot_be_read_is_that_files_problem(tasks, keep, monkeypatch):
    (tasks / "B.py").write_text("1")
    whole = kept_tasks.Path.read_bytes

    def read(path):
        if path == tasks / "B.py":
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    with monkeypatch.context() as refused:
        refused.setattr(kept_tasks.Path, "read_bytes", read)
        kept = keep()
        assert kept.changed() == set()
        assert kept.files() == {"A.py", "B.py"}
        refused.setattr(kept_tasks.Path, "read_bytes", whole)
        problem = next(each for each in find_tasks(kept.copy).problems if each.file == "B.py")
    assert problem.reason.startswith(f"PermissionError: [Errno 13] Permission denied: '{tasks / 'B.py'}'")
    assert kept.changed() == {"B.py"}


def test_a_file_that_goes_while_it_is_copied_was_never_there(tasks, keep, monkeypatch):
    def read(path):
        (tasks / "A.py").unlink()
        raise FileNotFoundError(2, "No such file or directory", str(path))

    with monkeypatch.context() as going:
        going.setattr(kept_tasks.Path, "read_bytes", read)
        assert names(keep()) == set()


def test_a_link_is_followed_to_a_package_and_to_nothing_else(tasks, tmp_path, keep):
    package, data = tmp_path / "elsewhere", tmp_path / "data"
    for folder in (package, package / "below", data):
        folder.mkdir()
        (folder / "module.py").write_text("1")
    (package / "__init__.py").touch()
    (package / "again").symlink_to(package)
    (tasks / "_helpers").symlink_to(package)
    (tasks / "weights").symlink_to(data)
    kept = keep()
    assert names(kept) == {"A.py", *(f"_helpers/{name}.py" for name in ("__init__", "module", "below/module"))}
    (package / "module.py").write_text("2")
    assert kept.changed() == {"_helpers/module.py"}


def test_of_a_copy_that_fails_nothing_is_left(tasks, tmp_path, keep, monkeypatch):
    kept = keep()
    (tasks / "B.py").write_text("1")
    monkeypatch.setattr(KeptTasks, "_lend", fail)
    with pytest.raises(OSError, match="No space"):
        kept.renewed({"B.py"})
    assert list((tmp_path / "kept").iterdir()) == [kept.copy]


def fail(*_):
    raise OSError(28, "No space left on device")


def test_a_copy_that_nobody_holds_any_more_goes_with_the_next_start(tasks, tmp_path):
    storage = Storage(tmp_path / "storage")
    storage.prepare()
    (held,) = keep_tasks(tasks, ["a"], storage).values()
    (left,) = keep_tasks(tasks, ["b"], storage).values()
    long_ago = time.time() - ABANDONED_SECONDS - 60
    for kept in (held, left):
        os.utime(kept.under, (long_ago, long_ago))
    held.hold()
    keep_tasks(tasks, ["c"], storage)
    assert (held.copy.exists(), left.copy.exists()) == (True, False)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can ask as another user")
def test_the_workers_group_reads_the_copy_and_nobody_else_does(tasks, tmp_path):
    group = grp.getgrgid(65534).gr_gid
    (tasks / "_helpers").mkdir()
    (tasks / "_helpers/deep.py").write_text("1")
    storage = Storage(tmp_path / "storage", workers_group=group)
    storage.prepare()
    (kept,) = keep_tasks(tasks, ["a"], storage).values()
    (tasks / "A.py").write_text("2")
    kept.take(kept.renewed({"A.py"}), ["A.py"])
    modes = {
        str(path.relative_to(kept.under)): (path.stat().st_gid, oct(path.stat().st_mode & 0o777))
        for path in (kept.under, *kept.copy.rglob("*"))
    }
    copy = kept.copy.name
    assert modes == {
        ".": (group, "0o710"),
        f"{copy}/A.py": (group, "0o640"),
        f"{copy}/_helpers": (group, "0o750"),
        f"{copy}/_helpers/deep.py": (group, "0o640"),
    }
    assert oct(storage.code.stat().st_mode & 0o777) == "0o710"
