"""Whether the storage's disk has room for another result."""

from __future__ import annotations

import shutil
from pathlib import Path

from structlog.typing import FilteringBoundLogger

from tomaat.storage.disk import LEAST_ROOM_BYTES, bytes_below


class Room:
    """After a result found the disk full, no ticket is claimed until there is room for such a one."""

    def __init__(self, base: Path, log: FilteringBoundLogger) -> None:
        self.base = base
        self.log = log
        self.wanted_bytes = 0

    def is_there(self) -> bool:
        """Tell whether there is room, as far as is known."""
        if self.wanted_bytes and shutil.disk_usage(self.base).free >= self.wanted_bytes:
            self.log.info("storage.has_room")
            self.wanted_bytes = 0
        return not self.wanted_bytes

    def may_come(self, ticket: int, out: Path) -> bool:
        """Note that a ticket's result, as far as it is in ``out``, did not fit; tell whether there may be room for it.

        Where a tenth of the disk is free without it, the result is too large by itself: its task may write without end.
        """
        size_bytes, disk = bytes_below(out), shutil.disk_usage(self.base)
        is_too_large = disk.free + size_bytes > max(LEAST_ROOM_BYTES, disk.total // 10)
        self.wanted_bytes = LEAST_ROOM_BYTES if is_too_large else max(LEAST_ROOM_BYTES, 2 * size_bytes)
        self.log.error(
            "storage.full", ticket=ticket, waits_for_free_bytes=self.wanted_bytes, result_is_too_large=is_too_large
        )
        return not is_too_large
