"""Writes and packs results while the device works on the next ticket."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from structlog.contextvars import bound_contextvars

from tomaat.archives import pack
from tomaat.messages.channel import Channel
from tomaat.services.outputs import write_outputs
from tomaat.worker.endings import end_of, writing
from tomaat.worker.job import DRAFT, Job
from tomaat.worker.networks import Networks
from tomaat.worker.reading import Read
from tomaat.worker.sha256 import sha256

KEPT = "kept"  #: folder in ``out`` of the files that a task returned, until they are packed


@dataclass(frozen=True, kw_only=True)
class Performed:
    """What a task returned, kept apart from the task, and what it was called with."""

    job: Job
    read: Read
    outputs: Any
    seconds: float


class Packing:
    """The last stage of a worker, in a thread of its own."""

    def __init__(self, channel: Channel, networks: Networks) -> None:
        self.channel = channel
        self.networks = networks
        self.asked: SimpleQueue[Performed] = SimpleQueue()

    def work(self) -> None:
        """Pack what was performed, until the process ends."""
        while True:
            performed = self.asked.get()
            with bound_contextvars(**performed.job.facts):
                self.take(performed)

    def take(self, performed: Performed) -> None:
        """Write and pack one result, and say how it went."""
        job = performed.job
        try:
            job.report(1.0, "packing")
            with writing(job.out):
                self._write(performed, job)
        except Exception as error:  # noqa: BLE001 (other people's outputs may raise anything)
            self.channel.send(end_of(job, error))
        else:
            self.channel.send({"is": "done", "key": job.key})

    def _write(self, performed: Performed, job: Job) -> None:
        """Write the outputs, labels on the grid of the volume that was segmented, and the facts about them."""
        files = job.out / "files"
        files.mkdir()
        facts = self._facts(performed, job)
        facts["outputs"] = write_outputs(
            performed.outputs, files, performed.read.segmented, performed.read.payload.format, facts
        )
        (files / "result.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        pack(_members(job, files), job.out / DRAFT)
        shutil.rmtree(job.out / KEPT, ignore_errors=True)

    def _facts(self, performed: Performed, job: Job) -> dict[str, Any]:
        hashed = [job.inputs / "main.json", *performed.read.payload.files.values()]
        return {
            "service": job.service,
            "version": self.networks.tasks[job.service].version,
            "weights_sha256": self.networks.weights_sha256[job.service],
            "inputs": {path.name: sha256(path) for path in hashed},
            "outputs": [],
            "compute_source": job.source,
            "timings_seconds": {"read": round(performed.read.seconds, 4), "perform": round(performed.seconds, 4)},
        }


def _members(job: Job, files: Path) -> Iterator[tuple[str, Path]]:
    for path in sorted(files.iterdir()):
        job.report(1.0, "packing")  # a client who gave the ticket up ends it here
        yield path.name, path
