"""Write a volume of a ticket as its service reads it: ``python3 -m tomaat.services.as_read IN ID OUT BYTES FREE``.

A program of its own, for WebService, which reads no images. ``IN`` is the folder of the ticket's input, ``ID`` an
input's id, ``BYTES`` the most that the voxels may take, ``FREE`` how many bytes of the disk must stay free. The last
line that it prints is JSON: ``{}``, ``{"refused": "<sentence>"}``, ``{"full": true}`` where the disk has no room, or
``{"crashed": "<kind>", "frames": [...]}``. Where guards of the reading do not work here, it has their names too, as
``only_limits``.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from Inputs import VolumeInput
from tomaat.headers import VolumeRefused
from tomaat.processes.log import frames_of
from tomaat.reader import VolumeReader
from tomaat.refusals import WrongValue
from tomaat.services.arguments import read_volume
from tomaat.services.payload import find_volume
from tomaat.services.payload_refused import PayloadRefused
from tomaat.volumes import write_volume


def write_as_read(reader: VolumeReader, inputs: Path, id: str, to: Path, *, left_free_bytes: int) -> str | None:
    """Write the volume that was sent as the input ``id``, as it was read for the task; return why it cannot be.

    Voxels, place and axes are those of the volume on whose grid labels come back: before it is turned to the
    orientation that the task wants. Raises ``OSError`` where its voxels would not leave
    ``left_free_bytes`` on the disk.
    """
    declared = VolumeInput(id, id)
    try:
        volume, _ = read_volume(declared, find_volume(inputs, declared), reader)
        if shutil.disk_usage(to.parent).free < left_free_bytes + volume.array.nbytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_volume(volume, to)
    except PayloadRefused as refusal:
        return str(refusal.errors[0]["detail"])
    except VolumeRefused as refusal:
        return f"{id}: {refusal.detail}"
    except WrongValue as fault:
        return f"{id}: {fault.told}."
    finally:
        reader.close()
    return None


def main(arguments: Sequence[str]) -> int:
    """Write the volume of the command line; tell how it went."""
    inputs, id, to, *numbers = arguments
    largest_voxel_bytes, left_free_bytes = map(int, numbers)
    told: dict[str, Any]
    reader = VolumeReader(largest_voxel_bytes=largest_voxel_bytes)
    try:
        why = write_as_read(reader, Path(inputs), id, Path(to), left_free_bytes=left_free_bytes)
        told = {} if why is None else {"refused": why}
    except Exception as error:  # noqa: BLE001 (its text may name a patient: only where it came up is told)
        is_full = isinstance(error, OSError) and error.errno in {errno.ENOSPC, errno.EDQUOT}
        told = {"full": True} if is_full else {"crashed": type(error).__name__, "frames": frames_of(error)}
    if reader.missing_guards:
        told["only_limits"] = reader.missing_guards
    print(json.dumps(told))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
