"""The tasks of a worker, warm, and what runs one job with them."""

from __future__ import annotations

import gc
import hashlib
import json
import secrets
import sys
import time
from pathlib import Path
from typing import Any

import structlog

from tomaat.archives import pack
from tomaat.compute.Channel import Channel
from tomaat.compute.Job import DRAFT, Job
from tomaat.disk import is_disk_full
from tomaat.log import frames_of
from tomaat.problems import problem
from tomaat.refusals import Refusal
from tomaat.services import Cancelled, Offer, Task
from tomaat.services.arguments import read_arguments
from tomaat.services.outputs import choose_segmented, write_outputs
from tomaat.services.payload import PayloadRefused, check_payload
from tomaat.volumes import Volume, VolumeReader

log = structlog.get_logger()

PROGRESS_SECONDS = 0.1  #: progress is reported at most this often
CHUNK_BYTES = 1024**2


class NotWritten(Exception):
    """The disk is too full for a result."""


class OutOfMemory(Exception):
    """A ticket needs more memory than its compute source has."""


class Performer:
    """The tasks of this worker, loaded once, and what runs one job."""

    def __init__(self, channel: Channel, reader: VolumeReader, device: Any) -> None:
        self.channel = channel
        self.reader = reader
        self.device = device
        self.tasks: dict[str, Task] = {}
        self.loaded: set[str] = set()
        self.weights_sha256: dict[str, str | None] = {}
        self.running_key: str | None = None
        self.cancelled_key: str | None = None
        self.reported_at = 0.0
        self.reported_stage: str | None = None

    def load(self, tasks: dict[str, Task]) -> None:
        """Load each task's network onto the device; one that cannot be loaded is reported and not offered."""
        for name, task in tasks.items():
            try:
                task.load(self.device)
                self.weights_sha256[name] = None if task.weights is None else sha256(task.weights)
            except Exception as error:  # noqa: BLE001 (other people's code may raise anything)
                self.channel.send(
                    {"is": "problem", "reason": f"{name}: load() failed: {type(error).__name__}: {error}"}
                )
            else:
                self.tasks[name] = task
                self.loaded.add(name)

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
        except NotWritten:
            return {"is": "disk_full"}
        except Exception as error:  # noqa: BLE001 (other people's code may raise anything)
            oom = isinstance(error, OutOfMemory)
            return {"is": "crashed", "problem": out_of_memory(job.service, job.source) if oom else crashed(error)}
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
        task = self._warm(job.service)
        began = time.monotonic()
        self._report(0.0, "reading")
        payload = check_payload(job.inputs, task.inputs)
        arguments, sent = read_arguments(task.inputs, payload, self.reader)
        segmented = choose_segmented(sent, payload.format)
        read = time.monotonic()
        outputs = self._perform_within_memory(job.service, arguments)
        performed = time.monotonic()
        self._report(1.0, "packing")
        facts: dict[str, Any] = {
            "service": job.service,
            "version": task.version,
            "weights_sha256": self.weights_sha256[job.service],
            "inputs": {"main.json": sha256(job.inputs / "main.json")}
            | {path.name: sha256(path) for path in payload.files.values()},
            "outputs": [],
            "compute_source": job.source,
            "timings_seconds": {"read": round(read - began, 4), "perform": round(performed - read, 4)},
        }
        try:
            write_result(outputs, facts, job.out, segmented, payload.format)
        except Exception as error:
            if is_disk_full(error, job.out):
                raise NotWritten from error
            raise

    def _warm(self, service: str) -> Task:
        """Give a task whose network is loaded; one that was let go is loaded again."""
        task = self.tasks[service]
        task.report = self._report
        if service not in self.loaded:
            self._report(0.0, "loading")
            task.load(self.device)
            self.loaded.add(service)
        return task

    def _perform_within_memory(self, service: str, arguments: dict[str, Any]) -> Any:
        """Perform; where the device's memory does not suffice, let all other networks go and try once more."""
        try:
            return self._warm(service).perform(**arguments)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            log.warning("memory.exhausted", service=service, let_go=sorted(self.loaded - {service}))
        self._let_go_all_but(service)
        try:
            return self._warm(service).perform(**arguments)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            log.error("memory.insufficient", service=service, frames=frames_of(error))
        self._let_go_all_but(service)
        raise OutOfMemory

    def _let_go_all_but(self, service: str) -> None:
        """Replace the other tasks by fresh ones, without their networks, and give back what caches hold."""
        for name in self.loaded - {service}:
            self.tasks[name] = type(self.tasks[name])()
        self.loaded &= {service}
        gc.collect()
        free_caches = getattr(sys.modules.get("torch"), "cuda", None)
        if free_caches is not None and free_caches.is_initialized():
            free_caches.empty_cache()

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
    facts["outputs"] = write_outputs(outputs, files, segmented, format, facts)
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


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether the device's, or the machine's, memory was exhausted; torch says so in its own ways."""
    words = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in words
        or "CUDA out of memory" in words
    )


def sha256(path: Path) -> str:
    """Hash a file's content; of a folder, that of its files one behind the other, by their names."""
    digest = hashlib.sha256()
    for each in sorted(path.iterdir()) if path.is_dir() else [path]:
        with each.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                digest.update(chunk)
    return digest.hexdigest()
