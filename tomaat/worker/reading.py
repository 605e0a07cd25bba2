"""Reads the tickets' inputs while the device works on others."""

from __future__ import annotations

import contextlib
import time
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from structlog.contextvars import bound_contextvars

from tomaat.contents.digest import sha256_of
from tomaat.messages import Channel, Forget, FromLane, MakeRoom, ReadAhead, Reload
from tomaat.reader import VolumeReader
from tomaat.services.arguments import read_arguments
from tomaat.services.outputs import choose_segmented
from tomaat.services.payload import Payload, check_payload
from tomaat.volumes import Volume
from tomaat.worker.endings import end_of
from tomaat.worker.job import Job
from tomaat.worker.networks import Networks


@dataclass(frozen=True, kw_only=True)
class Read:
    """A ticket's inputs: the checked payload, and the arguments for ``perform``."""

    inputs: Path
    payload: Payload
    arguments: dict[str, Any]
    segmented: Volume | None  #: the volume that was sent on whose grid labels come back
    remarks: list[dict[str, str]]  #: on how the inputs were read, for ``result.json``
    seconds: float
    hashes: Future[dict[str, str]] = field(default_factory=Future)  #: SHA-256 of each file, while the task performs

    def hash(self) -> None:
        """Hash the files, or note the error."""
        try:
            hashed = [self.inputs / "main.json", *self.payload.files.values()]
            self.hashes.set_result({path.name: sha256_of(path)[0] for path in hashed})
        except OSError as error:
            self.hashes.set_exception(error)


class InputReader:
    """The first stage of a worker, in one thread that lives as long as the worker, as ``VolumeReader`` demands.

    It takes claimed jobs, and the lane's ``ReadAhead`` and ``Forget``, from ``to_read``. It holds at most one ticket's
    volumes.
    """

    def __init__(
        self,
        channel: Channel[FromLane],
        reader: VolumeReader,
        networks: Networks,
        performs: SimpleQueue[tuple[Job, Read] | Reload | MakeRoom],
    ) -> None:
        self.channel = channel
        self.reader = reader
        self.networks = networks
        self.performs = performs
        self.to_read: SimpleQueue[Job | ReadAhead | Forget] = SimpleQueue()
        self.ahead: Read | None = None

    def work(self) -> None:
        """Read one ticket after the other, as the lane asks, until the process ends."""
        with contextlib.suppress(RuntimeError):  # the first read starts it again, and tells
            self.reader.start()
        while True:
            self.take(self.to_read.get())

    def take(self, asked: Job | ReadAhead | Forget) -> None:
        """Hand a claimed job on; read a waiting ticket ahead, unless something newer is asked for already."""
        if isinstance(asked, Job):
            with bound_contextvars(**asked.facts):
                self._hand_on(asked)
            return
        self.ahead = None
        if isinstance(asked, ReadAhead) and self.to_read.empty():
            with contextlib.suppress(BaseException):  # it is read again, and the reason told, once it is claimed
                self.ahead = self._read(asked.service, asked.inputs)

    def _hand_on(self, job: Job) -> None:
        read, self.ahead = self.ahead, None
        try:
            if read is None or read.inputs != job.inputs:
                read = None  # another ticket's volumes go before these come
                job.report(0.0, "reading")
                read = self._read(job.service, job.inputs)
        except BaseException as error:  # noqa: BLE001 (a task's own inputs may raise anything, SystemExit too)
            self.channel.send(end_of(job, error))
        else:
            self.performs.put((job, read))
            read.hash()

    def _read(self, service: str, inputs: Path) -> Read:
        began = time.monotonic()
        declared = self.networks.tasks[service].inputs
        payload = check_payload(inputs, declared)
        arguments, sent, remarks = read_arguments(declared, payload, self.reader)
        return Read(
            inputs=inputs,
            payload=payload,
            arguments=arguments,
            segmented=choose_segmented(sent, payload.format),
            remarks=remarks,
            seconds=time.monotonic() - began,
        )
