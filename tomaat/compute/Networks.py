"""The tasks of a worker and their networks, warm on the device, performed within its memory."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Mapping
from typing import Any

import structlog

from tomaat.compute.sha256 import sha256
from tomaat.log import frames_of
from tomaat.services import Task

log = structlog.get_logger()


class OutOfMemory(Exception):
    """A ticket needs more memory than its compute source has."""


class Networks:
    """Which task has its network on the device; used by the thread that performs (``tasks`` is read by any)."""

    def __init__(self, device: Any, report: Callable[[float, str], None]) -> None:
        self.device = device
        self.report = report
        self.tasks: dict[str, Task] = {}
        self.loaded: set[str] = set()
        self.weights_sha256: dict[str, str | None] = {}

    def load(self, name: str, task: Task) -> None:
        """Load a task's network onto the device, before the first ticket. Raises whatever ``task.load`` raises."""
        task.load(self.device)
        self.weights_sha256[name] = None if task.weights is None else sha256(task.weights)
        self.tasks[name] = task
        self.loaded.add(name)

    def drop(self, service: str) -> None:
        """Forget a task that cannot be offered."""
        del self.tasks[service]
        self.loaded.discard(service)

    def warm(self, service: str) -> Task:
        """Give a task whose network is loaded; one that was let go is loaded again. Raises what ``load`` raises."""
        task = self.tasks[service]
        task.report = self.report
        if service not in self.loaded:
            self.report(0.0, "loading")
            task.load(self.device)
            self.loaded.add(service)
        return task

    def perform(self, service: str, arguments: Mapping[str, Any]) -> Any:
        """Perform; where the device's memory does not suffice, let all other networks go and try once more.

        Raises ``OutOfMemory`` when that does not help, and whatever else the task raises.
        """
        try:
            return self.warm(service).perform(**arguments)
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            log.warning("memory.exhausted", service=service, let_go=sorted(self.loaded - {service}))
        self._let_go_all_but(service)
        try:
            return self.warm(service).perform(**arguments)
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


def is_out_of_memory(error: Exception) -> bool:
    """Tell whether the device's, or the machine's, memory was exhausted; torch says so in its own ways."""
    words = str(error)
    return (
        isinstance(error, MemoryError)
        or type(error).__name__ == "OutOfMemoryError"
        or "can't allocate memory" in words
        or "CUDA out of memory" in words
    )
