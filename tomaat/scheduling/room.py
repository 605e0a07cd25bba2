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
        """Note that a ticket's result, as far as it is in ``out``, did not fit; tell whether one such ever may.

        A result that alone takes a quarter of the disk is not waited for: its task may write without end.
        """
        wanted = max(LEAST_ROOM_BYTES, 2 * bytes_below(out))
        fits = wanted <= shutil.disk_usage(self.base).total / 2
        self.wanted_bytes = wanted if fits else LEAST_ROOM_BYTES
        self.log.error("storage.full", ticket=ticket, waits_for_free_bytes=self.wanted_bytes, result_fits=fits)
        return fits
