"""What a task leaves in its temporary folder goes with its worker, also when nobody was there to remove it."""

import os

import pytest

from tomaat.processes.proc import start_time
from tomaat.scheduling import temporary_folders
from tomaat.scheduling.temporary_folders import TemporaryFolders


@pytest.fixture
def folders(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return TemporaryFolders(None)


def test_what_a_task_has_left_goes_with_the_folder(folders):
    folder = folders.make()
    (folder / "pymp-1").mkdir()
    (folder / "pymp-1/scan.nii").write_text("voxels")
    assert folder.stat().st_mode & 0o777 == 0o700
    folders.remove(folder)
    assert not folder.exists()


def test_programs_find_the_folder_and_what_torch_compiles_lies_beside_it(folders, monkeypatch):
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    folder = folders.make()
    told = folders.environment(folder)
    assert told == {
        "TMPDIR": str(folder),
        "TORCHINDUCTOR_CACHE_DIR": str(folder.parent / f"torchinductor_{os.geteuid()}"),
    }
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "/cache")
    assert folders.environment(folder)["TORCHINDUCTOR_CACHE_DIR"] == "/cache"


def test_only_folders_of_a_process_that_is_gone_are_left_over(folders, tmp_path):
    own = folders.make()
    started = start_time(os.getpid())
    names = {
        f"tomaat-worker-{os.getpid()}-{started + 1}-reused": False,
        "tomaat-worker-4194305-7-gone": False,  # no process has so high a number
        "tomaat-worker-of-somebody": True,
        "another": True,
        own.name: True,
    }
    for name in names:
        (tmp_path / name).mkdir(exist_ok=True)
    folders.remove_left_over()
    assert {name: (tmp_path / name).exists() for name in names} == names


def test_a_full_disk_keeps_no_worker_away(folders, monkeypatch):
    def full(**_how):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(temporary_folders.tempfile, "mkdtemp", full)
    assert folders.make() is None
    folders.remove(None)
