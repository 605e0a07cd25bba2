"""Writes and packs results while the device works on the next ticket."""

from __future__ import annotations

import json
import shutil
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any

from structlog.contextvars import bound_contextvars

from tomaat.archives import pack
from tomaat.messages import DRAFT, FILES, Channel, FromLane, Packed
from tomaat.services.keep import Copies
from tomaat.services.outputs import write_outputs
from tomaat.worker.endings import end_of, writing
from tomaat.worker.job import Job
from tomaat.worker.reading import Read

SPARE_SECONDS = 5.0  #: for which memory is kept for the next ticket's outputs
KEPT = "kept"  #: folder in ``out`` of the files that a task returned, until they are packed


@dataclass(frozen=True, kw_only=True)
class Returned:
    """What a task returned, kept apart from the task, of which another version may be loaded before it is packed."""

    job: Job
    read: Read
    outputs: Any
    version: str
    texts: Mapping[str, str]  #: the task's own, for people
    weights_sha256: str | None
    packages: Mapping[str, str]  #: that the task names, with their versions
    seconds: float
    copies: Copies  #: the outputs' memory


class Packer:
    """The last stage of a worker, in a thread of its own."""

    def __init__(self, channel: Channel[FromLane], spare: deque[Any]) -> None:
        """Give back memory into ``spare``, which is let go when there is nothing to pack for a while."""
        self.channel = channel
        self.spare = spare
        self.to_pack: SimpleQueue[Returned] = SimpleQueue()

    def work(self) -> None:
        """Pack one result after the other, until the process ends."""
        while True:
            self._take_next()

    def _take_next(self) -> None:
        """Wait for a result and pack it; when there is none for a while, let the spare memory go."""
        try:
            returned = self.to_pack.get(timeout=SPARE_SECONDS)
        except Empty:
            self.spare.clear()
            returned = self.to_pack.get()
        with bound_contextvars(**returned.job.facts):
            self.take(returned)

    def take(self, returned: Returned) -> None:
        """Write and pack one result, and say how it went."""
        job = returned.job
        try:
            job.report(1.0, "packing")
            with writing(job.out):
                self._write(returned, job)
        except BaseException as error:  # noqa: BLE001 (other people's outputs may raise anything, SystemExit too)
            self.channel.send(end_of(job, error))
        else:
            self.channel.send(Packed(key=job.key))
        finally:
            returned.copies.end()

    def _write(self, returned: Returned, job: Job) -> None:
        """Write the outputs, labels on the grid of the volume that was segmented, and the facts about them."""
        files = job.out / FILES
        files.mkdir()
        facts = _facts(returned, job)
        facts["outputs"] = write_outputs(
            returned.outputs, files, returned.read.segmented, returned.read.payload.format, facts
        )
        (files / "result.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        # a client who gave the ticket up ends it before a file
        members = [(path.name, path) for path in sorted(files.iterdir())]
        pack(members, job.out / DRAFT, lambda: job.report(1.0, "packing"))
        shutil.rmtree(job.out / KEPT, ignore_errors=True)


def _facts(returned: Returned, job: Job) -> dict[str, Any]:
    return {
        "service": job.service,
        "version": returned.version,
        **returned.texts,
        "weights_sha256": returned.weights_sha256,
        **({"packages": returned.packages} if returned.packages else {}),
        "inputs": returned.read.hashes.result(),
        "remarks": returned.read.remarks,
        "outputs": [],
        "compute_source": job.source,
        "timings_seconds": {"read": round(returned.read.seconds, 4), "perform": round(returned.seconds, 4)},
    }
