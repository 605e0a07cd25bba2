"""The doors and the backup work under what their units restrict, as an ordinary user on a read-only file system."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import requests
import sqlalchemy

from tests.hostile_images import nifti
from tests.needs import need
from tests.service import REPOSITORY

UNITS = REPOSITORY / "deploy/systemd"


@pytest.fixture
def folder():
    """A folder that other users may enter."""
    made = Path(tempfile.mkdtemp(prefix="tomaat-units-"))
    made.chmod(0o755)
    yield made
    shutil.rmtree(made)


def user_of(database_url):
    """Take the user that may use the private PostgreSQL's socket; an ordinary one."""
    socket = Path(sqlalchemy.make_url(database_url).query["host"])
    return socket.stat().st_uid if socket.exists() and os.geteuid() == 0 else os.geteuid()


@pytest.mark.skipif(platform.machine() != "x86_64", reason="the numbers of system calls are x86_64's")
def test_the_doors_and_the_backup_work_under_the_restrictions_of_their_units(own_service, folder):
    need("systemd-analyze", "/usr/include/stdio.h")  # the latter's package brings the numbers, too
    storage = folder / "storage"
    instance = own_service(BASE_STORAGE_DIR=str(storage))
    user = user_of(instance.database_url)
    for path in (storage, storage / "home"):
        path.mkdir(mode=0o700)
        os.chown(path, user, user)
    instance.environment |= {"TMPDIR": str(storage / "home"), "HOME": str(storage / "home")}

    def confined(unit):
        return [sys.executable, str(REPOSITORY / "tests/confined.py"), str(UNITS / unit), str(user), str(storage)]

    instance.before = lambda door: confined(f"tomaat-{door.removesuffix('.py').lower()}.service")
    instance.start()
    instance.wait_until_ready()
    status = Path(f"/proc/{instance.doors['TaskScheduling.py'].pid}/status").read_text()
    assert "NoNewPrivs:\t1" in status
    assert "Seccomp:\t2" in status
    assert f"Uid:\t{user}\t{user}" in status
    smooth = instance.submit("GaussianSmoothing", {"sigma": 1.0}, volume_nii=nifti())
    add = instance.submit("FloatComputation", {"f1": 1, "f2": 2})
    for ticket in (smooth, add):
        assert instance.wait(ticket)["state"] == "succeeded", instance.status(ticket)
        assert instance.result(ticket)
    seen = requests.get(f"{instance.url}/input/{smooth['id']}&{smooth['token']}/volume.nii.gz?wait=60", timeout=90)
    assert (seen.status_code, seen.content[:2]) == (200, b"\x1f\x8b"), seen.text
    for door in ("TaskScheduling.py", "WebService.py"):
        assert "volumes.only_limits" not in instance.log(door), "Landlock and seccomp of its own still work"
    place = storage / "backups"
    backup = subprocess.run(
        [*confined("tomaat-backup.service"), sys.executable, "-m", "tomaat.backup", "make", str(place), "--keep", "7"],
        cwd=REPOSITORY,
        env=instance.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert backup.returncode == 0, backup.stderr
    assert len(list(place.iterdir())) == 1
    for door in instance.doors:
        assert instance.terminate(door, 30) == 0, door
