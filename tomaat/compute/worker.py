"""The program that holds one compute source's device, keeps the networks warm, and runs tasks.

It runs other people's networks, so it gets a folder and a channel, and no credentials. Its lane asks; it answers:

====================  =====================================================================
lane                  worker
====================  =====================================================================
(start)               ``problem``…, ``offer``…, then ``ready`` or ``unusable``
``perform``           ``progress``…, then ``done``, ``refused``, ``crashed`` or ``cancelled``
``cancel``            (the task's next ``progress()`` raises ``Cancelled``)
``estimate``          ``estimated``
====================  =====================================================================
"""

from __future__ import annotations

import argparse
import ctypes
import hashlib
import json
import os
import secrets
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import structlog

from tomaat.archives import pack
from tomaat.compute.Channel import Channel, ChannelClosed
from tomaat.log import configure_logging, frames_of
from tomaat.problems import problem
from tomaat.refusals import Refusal
from tomaat.services import Cancelled, Offer, Task
from tomaat.services.find import find_tasks
from tomaat.services.outputs import write_outputs
from tomaat.services.payload import PayloadRefused, check_payload
from tomaat.volumes import VolumeReader, VolumeRefused

log = structlog.get_logger()

PR_SET_PDEATHSIG = 1
DRAFT = "result.tar.gz.part"
PROGRESS_SECONDS = 0.1  #: progress is reported at most this often
CHUNK_BYTES = 1024**2


@dataclass(frozen=True, kw_only=True)
class Job:
    """One claim of one ticket, as the lane hands it over."""

    key: str  #: ticket and claim, so that a late "cancel" does not meet the next job
    service: str
    inputs: Path
    out: Path
    source: str


class Performer:
    """The tasks of this worker, loaded once, and what runs one job."""

    def __init__(self, channel: Channel, reader: VolumeReader) -> None:
        self.channel = channel
        self.reader = reader
        self.tasks: dict[str, Task] = {}
        self.weights_sha256: dict[str, str | None] = {}
        self.running_key: str | None = None
        self.cancelled_key: str | None = None
        self.reported_at = 0.0
        self.reported_stage: str | None = None

    def load(self, tasks: dict[str, Task], device: Any) -> None:
        """Load each task's network onto the device; one that cannot be loaded is reported and not offered."""
        for name, task in tasks.items():
            try:
                task.load(device)
                self.weights_sha256[name] = None if task.weights is None else sha256(task.weights)
            except Exception as error:  # noqa: BLE001 (other people's code may raise anything)
                self.channel.send(
                    {"is": "problem", "reason": f"{name}: load() failed: {type(error).__name__}: {error}"}
                )
            else:
                self.tasks[name] = task

    def offer(self) -> None:
        """Tell what this worker can be asked for; what is too long to be told is reported and not offered."""
        for name, task in list(self.tasks.items()):
            offer = Offer.of(task)
            try:
                self.channel.send({"is": "offer", "offer": offer.to_json(), "interface_hash": offer.interface_hash})
            except ValueError as error:
                del self.tasks[name]
                self.channel.send({"is": "problem", "reason": f"{name}: its interface cannot be told: {error}"})

    def run(self, job: Job) -> dict[str, Any]:
        """Run one job and say how it went."""
        self.running_key = job.key
        self.reported_at = 0.0
        try:
            self._perform(job)
        except Cancelled:
            return {"is": "cancelled"}
        except PayloadRefused as refusal:
            return {"is": "refused", "problem": refused(refusal.errors[0]["detail"], refusal.errors)}
        except Refusal as refusal:
            return {"is": "refused", "problem": refused(refusal.detail)}
        except Exception as error:  # noqa: BLE001 (other people's code may raise anything)
            return {"is": "crashed", "problem": crashed(error)}
        return {"is": "done"}

    def estimate(self, service: str, inputs: Path) -> float | None:
        """Ask a task how long it will take; one that cannot say costs nothing."""
        try:
            task = self.tasks[service]
            payload = check_payload(inputs, task.inputs)
            seconds = task.expected_seconds({**payload.values, **payload.headers})
        except Exception as error:  # noqa: BLE001 (other people's code may raise anything)
            log.warning("estimate.failed", service=service, error=type(error).__name__)
            return None
        return None if seconds is None else max(0.0, float(seconds))

    def _perform(self, job: Job) -> None:
        task = self.tasks[job.service]
        task.report = self._report
        began = time.monotonic()
        self._report(0.0, "reading")
        payload = check_payload(job.inputs, task.inputs)
        arguments = self._arguments(task, payload)
        read = time.monotonic()
        outputs = task.perform(**arguments)
        performed = time.monotonic()
        self._report(1.0, "packing")
        files = job.out / "files"
        files.mkdir()
        written = write_outputs(outputs, files)
        facts = {
            "service": job.service,
            "version": task.version,
            "weights_sha256": self.weights_sha256[job.service],
            "inputs": {"main.json": sha256(job.inputs / "main.json")}
            | {path.name: sha256(path) for path in payload.files.values()},
            "outputs": written,
            "compute_source": job.source,
            "timings_seconds": {"read": round(read - began, 4), "perform": round(performed - read, 4)},
        }
        (files / "result.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
        pack(((path.name, path) for path in sorted(files.iterdir())), job.out / DRAFT)

    def _arguments(self, task: Task, payload: Any) -> dict[str, Any]:
        arguments: dict[str, Any] = {}
        for declared in task.inputs:
            if declared.id in payload.files:
                try:
                    arguments[declared.id] = self.reader.read(payload.files[declared.id])
                except VolumeRefused as refusal:
                    error = {"input": declared.id, "code": refusal.code, "detail": f"{declared.id}: {refusal.detail}"}
                    raise PayloadRefused([error], inputs=len(task.inputs)) from refusal
            else:
                value = payload.values.get(declared.id)
                arguments[declared.id] = None if value is None else declared.convert(value)
        return arguments

    def _report(self, fraction: float, stage: str | None) -> None:
        if self.cancelled_key == self.running_key:
            raise Cancelled
        now = time.monotonic()
        if stage == self.reported_stage and now - self.reported_at < PROGRESS_SECONDS:
            return
        self.reported_at, self.reported_stage = now, stage
        self.channel.send({"is": "progress", "fraction": float(fraction), "stage": stage}, or_drop=True)


def refused(detail: str, errors: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    """Make the problem of a ticket that the task or the reader refused."""
    return problem("refused", "The inputs were refused", detail, errors)


def crashed(error: Exception) -> dict[str, Any]:
    """Log where a task crashed, under a reference that the client gets; the error's own text may name a patient."""
    reference = secrets.token_hex(4)
    log.error("task.crashed", reference=reference, error=type(error).__name__, frames=frames_of(error))
    detail = (
        f"The task stopped with an error of its own ({type(error).__name__}); the server's log has it as {reference}."
    )
    return problem("task-crashed", "The task crashed", detail)


def sha256(path: Path) -> str:
    """Hash a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def die_with_parent(parent: int) -> None:
    """Let the kernel end this process with its parent, so that no orphan keeps a GPU."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        sys.exit("the parent is gone already")


def listen(channel: Channel, performer: Performer, jobs: SimpleQueue[Job]) -> None:
    """Take the lane's messages while the main thread performs; end the process when the lane is gone."""
    while True:
        try:
            message = channel.receive()
        except ChannelClosed:
            os._exit(0)
        if message["do"] == "perform":
            jobs.put(
                Job(
                    key=message["key"],
                    service=message["service"],
                    inputs=Path(message["inputs"]),
                    out=Path(message["out"]),
                    source=message["source"],
                )
            )
        elif message["do"] == "cancel":
            performer.cancelled_key = message["key"]
        elif message["do"] == "estimate":
            seconds = {key: performer.estimate(service, Path(inputs)) for key, service, inputs in message["tickets"]}
            channel.send({"is": "estimated", "seconds": seconds})


def prepare_device(name: str, threads: int) -> Any:
    """Import torch, bounded in threads, and use the device once, so that a broken one shows at the start."""
    import torch  # noqa: PLC0415 (after CUDA_VISIBLE_DEVICES; only this program and the tasks import torch)

    torch.set_num_threads(threads)
    device = torch.device(name)
    torch.zeros(1, device=device).add_(1).cpu()
    return device


def start(channel: Channel, arguments: argparse.Namespace, find_device: Callable[[str, int], Any]) -> Performer | None:
    """Prepare the device, find and load the tasks, and offer them; ``None`` when the device is unusable."""
    try:
        device = find_device(arguments.device, arguments.threads)
    except Exception as error:  # noqa: BLE001 (a driver may raise anything)
        reason = str(error).strip().splitlines() or [type(error).__name__]
        channel.send({"is": "unusable", "reason": f"torch cannot use {arguments.device}: {reason[0]}"})
        return None
    found = find_tasks(arguments.tasks)
    for trouble in found.problems:
        channel.send({"is": "problem", "reason": f"{trouble.file}: {trouble.reason}"[:4000]})
    wanted = set(found.tasks) if arguments.services == "*" else set(arguments.services.split(","))
    for missing in sorted(wanted - set(found.tasks)):
        channel.send({"is": "problem", "reason": f"{missing}: no task in {arguments.tasks.name} has this identifier"})
    performer = Performer(channel, VolumeReader(largest_voxel_bytes=arguments.largest_volume_bytes))
    performer.load({name: task for name, task in found.tasks.items() if name in wanted}, device)
    performer.offer()
    channel.send({"is": "ready"})
    return performer


def main() -> None:
    """Start, then perform job after job until the lane ends this process."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--channel", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--tasks", type=Path, required=True)
    parser.add_argument("--device", required=True)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--services", required=True)
    parser.add_argument("--largest-volume-bytes", type=int, required=True)
    parser.add_argument("--log-format", required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    configure_logging("worker", arguments.log_format)
    channel = Channel(socket.socket(fileno=arguments.channel))
    performer = start(channel, arguments, prepare_device)
    if performer is None:
        return
    jobs: SimpleQueue[Job] = SimpleQueue()
    threading.Thread(target=listen, args=(channel, performer, jobs), daemon=True).start()
    while True:
        channel.send(performer.run(jobs.get()))


if __name__ == "__main__":
    main()
