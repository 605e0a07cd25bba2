"""Build the image on a Debian that is made here, run the demo in it, and look at what it holds: ``make image-check``.

Root runs it, without a registry of images and without a container's namespaces: in their place buildah changes the root
directory (``--isolation chroot``). Needs buildah, and mmdebstrap unless a base is given.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import socket
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from tools.demo import CACHE, MRI_WHEEL, fetch_mri
from tools.image import REPOSITORY, build, pip_configuration

TAG = "tomaat-check"
RELEASE = "bookworm"  #: the Debian that the Containerfile names
BASE = f"localhost/debian-{RELEASE}"
CHROOT = ["--isolation", "chroot"]
USER = 10001
HOME = "opt/tomaat"
WRITABLE = {"storage", "backups", "var/cache/tomaat", "tmp", "var/tmp"}
ITS_OWN = {"proc", "sys", "dev", "run", "etc/hosts", "etc/resolv.conf", "etc/hostname"}  #: what buildah lays over it
MOUNTED = {f"{HOME}/tools", f"{HOME}/examples", f"{HOME}/.cache"}  #: what the demo needs beside the service
HOLDS = {
    *("WebService.py", "QueueManager.py", "TaskScheduling.py", "TOMAATSettings.py", "pyproject.toml", "LICENSE"),
    *("requirements.txt", "requirements-networks.txt", "requirements-nnunet.txt", "requirements-monai.txt"),
    *("requirements-onnx.txt", "tomaat", "Inputs", "CustomTasks", "networks", ".venv", "__pycache__"),
}
LEFT_OVER = ("root/.cache", "etc/pip.conf", "pip", "build", f"{HOME}/.venv/bin/pip", "var/lib/apt/lists")
LARGEST_BYTES = 2_000_000_000  #: with PyTorch's build for CPUs
LARGEST_TEXT_BYTES = 65536
PUBLIC = {"", "pypi.org", "localhost"}  #: hosts that an image may name


def main() -> int:
    """Build and look; return 1 where something is wrong with the image."""
    parser = argparse.ArgumentParser(prog="make image-check", description=__doc__)
    parser.add_argument("--base", help="the image of a Debian to build it on (default: one that mmdebstrap makes)")
    words = parser.parse_args()
    for program in ("buildah", "mmdebstrap"):
        if shutil.which(program) is None:
            print(f"{program} is not here: install the Debian package {program}.", file=sys.stderr)
            return 1
    base = words.base or make_base()
    if build(TAG, base=base, options=CHROOT) != 0:
        return 1
    with container() as (name, root):
        size = sum(path.lstat().st_size for path in files(root))
        before = looks(root)
        faults = [*faults_of_configuration(), *faults_of_files(root, size)]
        faults += run_demo(name)
        faults += [f"the demo wrote /{path}" for path in sorted(different(before, looks(root)))]
    print(f"\nThe image, unpacked: {size / 1e6:,.0f} MB, {len(before):,} files; faults: {len(faults)}")
    for fault in faults:
        print(f"  {fault}")
    return 1 if faults else 0


def buildah(*words: str) -> str:
    """Run buildah; return what it says."""
    return subprocess.run(["buildah", *words], check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


def make_base() -> str:
    """Make the image of a small Debian, once."""
    if buildah("images", "--quiet", "--filter", f"reference={BASE}"):
        return BASE
    print(f"Making a Debian {RELEASE} by mmdebstrap; this happens once.", flush=True)
    with tempfile.TemporaryDirectory() as folder:
        archive = f"{folder}/base.tar"
        subprocess.run(["mmdebstrap", "--quiet", "--variant=minbase", RELEASE, archive], check=True)
        name = buildah("from", "scratch")
        buildah("add", name, archive, "/")
    buildah("commit", "--quiet", "--rm", name, BASE)
    return BASE


@contextmanager
def container() -> Iterator[tuple[str, Path]]:
    """Make a container of the image; give its name, and its files."""
    name = buildah("from", f"localhost/{TAG}")
    try:
        yield name, Path(buildah("mount", name))
    finally:
        buildah("rm", name)


def run_demo(name: str) -> list[str]:
    """Run the demo as the image's user, with the private PostgreSQL; tell what is wrong."""
    fetch_mri()
    lent = {
        REPOSITORY / "tools": "tools",
        REPOSITORY / "examples": "examples",
        CACHE / MRI_WHEEL: f".cache/{MRI_WHEEL}",
    }
    mounts = [f"--volume={path}:/{HOME}/{place}:ro" for path, place in lent.items()]
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    own = ["--env=TOMAAT_HOST=127.0.0.1", f"--env=TOMAAT_PORT={port}"]
    demo = ["env", "--unset=TOMAAT_DATABASE_URL", "python3", "-m", "tools.demo"]
    ran = subprocess.run(
        ["buildah", "run", *CHROOT, *mounts, *own, name, "--", *demo], stdout=subprocess.PIPE, text=True, check=False
    )
    print(ran.stdout)
    if ran.returncode != 0:
        return [f"the demo ended with status {ran.returncode}"]
    wanted = ("So 2.5 + 4 is 6.5.", "The brain has ", "Everything is stopped again")
    return [f"the demo does not say: {text}" for text in wanted if text not in ran.stdout]


def faults_of_configuration() -> Iterator[str]:
    """Look at how a container of the image is started, and at what its history tells."""
    told = buildah("inspect", "--type", "image", f"localhost/{TAG}")
    configuration = json.loads(told)["OCIv1"]["config"]
    if configuration.get("User") != f"{USER}:{USER}":
        yield f"its user is {configuration.get('User')!r}"
    for secret in secrets():
        if secret in told:
            yield "its configuration or its history names where packages came from"


def faults_of_files(root: Path, size: int) -> Iterator[str]:
    """Look at what the image holds."""
    if size > LARGEST_BYTES:
        yield f"it has {size:,} bytes, more than {LARGEST_BYTES:,}"
    if others := {path.name for path in (root / HOME).iterdir()} - HOLDS:
        yield f"/{HOME} also holds {', '.join(sorted(others))}"
    for name in LEFT_OVER:
        path = root / name
        if path.is_file() or (path.is_dir() and any(path.iterdir())):
            yield f"/{name} is left over from the build"
    hidden = [secret.encode() for secret in secrets()]
    for path in files(root):
        for fault in faults_of_file(path, str(path.relative_to(root)), hidden):
            yield f"/{path.relative_to(root)} {fault}"


def faults_of_file(path: Path, name: str, hidden: Sequence[bytes]) -> Iterator[str]:
    """Look at one file, of that name within the image."""
    status = path.lstat()
    if is_below(name, WRITABLE):
        yield "lies in a folder for what is written later"
    if stat.S_ISLNK(status.st_mode):
        return
    is_its_groups = status.st_gid == USER and status.st_mode & stat.S_IWGRP
    if status.st_uid == USER or is_its_groups or status.st_mode & stat.S_IWOTH:
        yield "can be written by others than root"
    if path.suffix in {".key", ".pem"}:
        yield "may be a key"
    if hidden and stat.S_ISREG(status.st_mode) and status.st_size < LARGEST_TEXT_BYTES:
        content = path.read_bytes()
        if any(secret in content for secret in hidden):
            yield "names where packages came from"


def secrets() -> set[str]:
    """List the hosts of this machine's package indexes, unless they are public: an image must not name them."""
    words = [word for value in pip_configuration().values() for word in value.split()]
    return {netloc for word in words if (netloc := urlsplit(word).netloc) not in PUBLIC}


def files(root: Path) -> Iterator[Path]:
    """List all that is no folder."""
    for folder, folders, names in os.walk(root):
        folders[:] = [name for name in folders if str(Path(folder, name).relative_to(root)) not in ITS_OWN]
        links = [name for name in folders if Path(folder, name).is_symlink()]
        yield from (Path(folder, name) for name in (*names, *links))


def looks(root: Path) -> dict[str, tuple[int, int, int, int]]:
    """Tell how each file looks that nobody may write while the service runs."""
    found = {}
    for path in files(root):
        name, status = str(path.relative_to(root)), path.lstat()
        if not is_below(name, WRITABLE | MOUNTED | ITS_OWN):
            found[name] = (status.st_mtime_ns, status.st_size, status.st_mode, status.st_uid)
    return found


def different(before: dict[str, tuple[int, int, int, int]], after: dict[str, tuple[int, int, int, int]]) -> set[str]:
    """Name the files that are not as they were."""
    return {name for name in before.keys() | after.keys() if before.get(name) != after.get(name)}


def is_below(name: str, folders: set[str]) -> bool:
    """Tell whether a path is one of some, or below it."""
    return any(name == folder or name.startswith(f"{folder}/") for folder in folders)


if __name__ == "__main__":
    sys.exit(main())
