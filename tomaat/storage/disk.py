"""Tell a full disk from other troubles with files."""

from __future__ import annotations

import errno
import shutil
from pathlib import Path

DISK_FULL = {errno.ENOSPC, errno.EDQUOT}
LEAST_ROOM_BYTES = 64 * 1024**2  #: free: with less nothing is ready, and a lane that found the disk full claims nothing
LEAST_FREE_BYTES = 1024**2  #: with less, a failed writing counts as failed for want of room


def is_disk_full(error: BaseException, folder: Path) -> bool:
    """Tell whether writing into ``folder`` failed because there is no room; libraries say so in many ways."""
    if isinstance(error, OSError) and error.errno in DISK_FULL:
        return True
    return shutil.disk_usage(folder).free < LEAST_FREE_BYTES


def bytes_below(folder: Path) -> int:
    """Add up the sizes of all files below a folder."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())
