"""Makes packed results durable."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

from tomaat.messages import DRAFT, FILES
from tomaat.storage import Storage


class Sealer:
    """Has a thread of its own: a slow disk holds up no other ticket."""

    def __init__(self, storage: Storage, source: str, wake: Callable[[], None]) -> None:
        self.storage = storage
        self.wake = wake
        self.pool = ThreadPoolExecutor(1, thread_name_prefix=f"seal {source}")

    def seal(self, out: Path) -> Future[tuple[str, int]]:
        """Begin to seal the result in ``out``; the future has its SHA-256 and its size, and wakes the lane."""
        sealing = self.pool.submit(self._seal, out)
        sealing.add_done_callback(lambda _: self.wake())
        return sealing

    def close(self) -> None:
        """End the thread when it is through."""
        self.pool.shutdown()

    def _seal(self, out: Path) -> tuple[str, int]:
        shutil.rmtree(out / FILES)
        return self.storage.seal_result(out / DRAFT)
