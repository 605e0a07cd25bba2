"""Take a result apart: plain files with plain names, and nothing else, from any sender."""

from __future__ import annotations

import json
import os
import shutil
import tarfile
import unicodedata
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tomaat.client.errors import Damaged, Unusable

RECORD = "result.json"
NEW = ".tomaat-new"  #: the folder in which a result is unpacked, until it is complete
CHUNK_BYTES = 1024**2
LONGEST_FILE_NAME = 200
FORBIDDEN = set('<>:"/\\|?*')  #: in file names, on one system or another


def unpack_result(archive: Path, folder: Path, *, replace: bool) -> None:
    """Put the files of a result into a folder, ``result.json`` last, in the place of an older result.

    Raises ``Damaged`` if it is no result, and ``Unusable`` where another file lies in its place, unless that is to be
    replaced too. Then nothing of it is kept, and the older result stays.
    """
    new = folder / NEW
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir()
    try:
        try:
            _extract(archive, new)
            read_record(new)
        except (tarfile.TarError, EOFError, ValueError, KeyError) as error:
            raise Damaged(f"The result cannot be unpacked: {error}.") from None
        older = names_in(folder)
        names = sorted((path.name for path in new.iterdir()), key=lambda name: name == RECORD)
        foreign = [folder / name for name in names if name not in older and (folder / name).exists()]
        if foreign and not replace:
            raise Unusable(f"{foreign[0]} exists already; choose another folder for the result.")
        for name in older:
            (folder / name).unlink()
        for name in names:
            (new / name).replace(folder / name)
    finally:
        shutil.rmtree(new, ignore_errors=True)


def read_record(folder: Path) -> dict[str, Any]:
    """Read a folder's ``result.json``; raises ``ValueError`` where it is none, ``KeyError`` where there is none."""
    try:
        content = (folder / RECORD).read_bytes()
    except FileNotFoundError:
        raise KeyError(RECORD) from None
    record = json.loads(content)
    if not isinstance(record, dict) or not isinstance(record.get("outputs"), list):
        raise ValueError(f"{RECORD} lists no outputs")  # noqa: TRY004 (a value of the wrong form, not an argument)
    for output in record["outputs"]:
        if not isinstance(output, dict) or not isinstance(output.get("name"), str):
            raise ValueError(f"{RECORD} lists what is no output")  # noqa: TRY004 (likewise)
        for name in files_of(output):
            if not (folder / plain(name)).is_file():
                raise ValueError(f"the file {name} is missing")
    return record


def files_of(output: Mapping[str, Any]) -> list[str]:
    """Name the files of one output."""
    return [output[key] for key in ("file", "nifti", "preview") if output.get(key) is not None]


def plain(name: Any) -> str:
    """Return a name that stays in its folder, on any system; raises ``ValueError`` for another."""
    if (
        not isinstance(name, str)
        or not 0 < len(name) <= LONGEST_FILE_NAME
        or name[0] in ". "
        or name[-1] in ". "
        or FORBIDDEN & set(name)
        or any(unicodedata.category(character)[0] == "C" for character in name)
    ):
        raise ValueError(f"{name!r:.80} is no plain file name")
    return name


def names_in(folder: Path) -> list[str]:
    """Name the files of the result that lies in a folder, ``result.json`` first; none where there is no result."""
    try:
        outputs = read_record(folder)["outputs"]
    except (KeyError, ValueError):
        return []
    return [RECORD, *(name for output in outputs for name in files_of(output))]


def _extract(archive: Path, folder: Path) -> None:
    with tarfile.open(archive, mode="r|gz") as tar:
        for member in tar:
            source = tar.extractfile(member) if member.isreg() else None
            if source is None:
                raise ValueError(f"{member.name!r:.80} is no plain file")
            try:
                target = (folder / plain(member.name)).open("xb")
            except FileExistsError:
                raise ValueError(f"{member.name!r:.80} is there twice") from None
            with target:
                shutil.copyfileobj(source, target, CHUNK_BYTES)
                target.flush()
                os.fsync(target.fileno())
