"""What runs one job: read, perform, pack."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any

import structlog

from tomaat.archives import pack
from tomaat.compute.Channel import Channel
from tomaat.compute.Job import DRAFT, Job
from tomaat.compute.Networks import Networks, OutOfMemory
from tomaat.compute.sha256 import sha256
from tomaat.disk import is_disk_full
from tomaat.log import frames_of
from tomaat.problems import problem
from tomaat.refusals import Refusal
from tomaat.services import Cancelled, Offer, Task
from tomaat.services.arguments import read_arguments
from tomaat.services.outputs import write_outputs
from tomaat.services.payload import PayloadRefused, check_payload
from tomaat.volumes import Volume, VolumeReader

log = structlog.get_logger()

PROGRESS_SECONDS = 0.1  #: progress is reported at most this often


class NotWritten(Exception):
    """The disk is too full for a result."""


class Performer:
    """Runs the jobs of this worker, with its networks."""

    def __init__(self, channel: Channel, reader: VolumeReader, device: Any) -> None:
        self.channel = channel
        self.reader = reader
        self.networks = Networks(device, self._report)
        self.running_key: str | None = None
        self.cancelled_key: str | None = None
        self.reported_at = 0.0
        self.reported_stage: str | None = None

    def load(self, tasks: dict[str, Task]) -> None:
        """Load each task's network onto the device; one that cannot be loaded is reported and not offered."""
        for name, task in tasks.items():
            try:
                self.networks.load(name, task)
            except Exception as error:  # noqa: BLE001 (other people's code may raise anything)
                self.channel.send(
                    {"is": "problem", "reason": f"{name}: load() failed: {type(error).__name__}: {error}"}
                )

    def offer(self) -> None:
        """Tell what this worker can be asked for; what is too long to be told is reported and not offered."""
        for name, task in list(self.networks.tasks.items()):
            offer = Offer.of(task)
            try:
                self.channel.send({"is": "offer", "offer": offer.to_json(), "interface_hash": offer.interface_hash})
            except ValueError as error:
                self.networks.drop(name)
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
        except NotWritten:
            return {"is": "disk_full"}
        except Exception as error:  # noqa: BLE001 (other people's code may raise anything)
            oom = isinstance(error, OutOfMemory)
            return {"is": "crashed", "problem": out_of_memory(job.service, job.source) if oom else crashed(error)}
        return {"is": "done"}

    def estimate(self, service: str, inputs: Path) -> float | None:
        """Ask a task how long it will take; one that cannot say costs nothing."""
        try:
            task = self.networks.tasks[service]
            payload = check_payload(inputs, task.inputs)
            seconds = task.expected_seconds({**payload.values, **payload.headers})
        except Exception as error:  # noqa: BLE001 (other people's code may raise anything)
            log.warning("estimate.failed", service=service, error=type(error).__name__)
            return None
        return None if seconds is None else max(0.0, float(seconds))

    def _perform(self, job: Job) -> None:
        task = self.networks.warm(job.service)
        began = time.monotonic()
        self._report(0.0, "reading")
        payload = check_payload(job.inputs, task.inputs)
        arguments = read_arguments(task.inputs, payload, self.reader)
        read = time.monotonic()
        outputs = self.networks.perform(job.service, arguments)
        performed = time.monotonic()
        self._report(1.0, "packing")
        facts: dict[str, Any] = {
            "service": job.service,
            "version": task.version,
            "weights_sha256": self.networks.weights_sha256[job.service],
            "inputs": {"main.json": sha256(job.inputs / "main.json")}
            | {path.name: sha256(path) for path in payload.files.values()},
            "outputs": [],
            "compute_source": job.source,
            "timings_seconds": {"read": round(read - began, 4), "perform": round(performed - read, 4)},
        }
        try:
            segmented = next((value for value in arguments.values() if isinstance(value, Volume)), None)
            write_result(outputs, facts, job.out, segmented, payload.format)
        except Exception as error:
            if is_disk_full(error, job.out):
                raise NotWritten from error
            raise

    def _report(self, fraction: float, stage: str | None) -> None:
        if self.cancelled_key == self.running_key:
            raise Cancelled
        now = time.monotonic()
        if stage == self.reported_stage and now - self.reported_at < PROGRESS_SECONDS:
            return
        self.reported_at, self.reported_stage = now, stage
        self.channel.send({"is": "progress", "fraction": float(fraction), "stage": stage}, or_drop=True)


def write_result(outputs: Any, facts: dict[str, Any], out: Path, segmented: Volume | None, format: str) -> None:
    """Write a task's outputs and the ``facts`` about them, and pack both; labels lie on the grid of ``segmented``."""
    files = out / "files"
    files.mkdir()
    facts["outputs"] = write_outputs(outputs, files, segmented, format)
    (files / "result.json").write_text(json.dumps(facts, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    pack(((path.name, path) for path in sorted(files.iterdir())), out / DRAFT)


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


def out_of_memory(service: str, source: str) -> dict[str, Any]:
    """Say that the device is too small for this ticket."""
    detail = f"{service}: this ticket needs more memory than {source} has, also with nothing else in it."
    return problem("out-of-memory", "Not enough memory", detail)
