"""Which code this program runs: both ends of a cluster have to run the same."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

import tomaat
from tomaat.contents.digest import sha256_of

CODE = Path(tomaat.__file__).resolve().parents[1]  #: where relative paths of tasks begin, in a clone
PARTS = ("tomaat", "Inputs")


@cache
def code_sha256() -> str:
    """Return the SHA-256 of the service's code, as it was when this program first asked."""
    digest = hashlib.sha256()
    for file in sorted(file for part in PARTS for file in (CODE / part).rglob("*.py")):
        digest.update(f"{sha256_of(file)[0]}  {file.relative_to(CODE).as_posix()}\n".encode())
    return digest.hexdigest()
