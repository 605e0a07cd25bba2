"""Write the ``.tar.gz`` of a result."""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, cast

from isal import igzip

LEVEL = 2  #: isal's: on CT-like volumes as small as zlib's level 6 in 1/28 of the time


def pack(members: Iterable[tuple[str, Path]], archive: Path) -> None:
    """Pack files under their member names, in their order: the same files, the same bytes."""
    descriptor = os.open(archive, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with (
        open(descriptor, "wb") as raw,  # noqa: PTH123 (a descriptor)
        igzip.IGzipFile(filename="", fileobj=raw, mode="wb", compresslevel=LEVEL, mtime=0) as packed,  # type: ignore[no-untyped-call]
        tarfile.open(fileobj=cast("BinaryIO", packed), mode="w|", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, path in members:
            info = tarfile.TarInfo(name)
            info.size = path.stat().st_size
            info.mode = 0o644
            with path.open("rb") as file:
                tar.addfile(info, file)
