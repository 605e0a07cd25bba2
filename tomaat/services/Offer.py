"""What a worker offers: a service as the database and the clients know it."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import Any

from tomaat.services.Task import Task


@dataclass(frozen=True, kw_only=True)
class Offer:
    """One service with its interface: its inputs' descriptions by id."""

    service: str
    description: str
    version: str
    interface: dict[str, dict[str, Any]]
    deadline_seconds: float
    estimates: bool  #: the task can say how long it will take

    @classmethod
    def of(cls, task: Task) -> Offer:
        """Describe a task."""
        return cls(
            service=task.task_identifier,
            description=task.description,
            version=task.version,
            interface={each.id: each.describe() for each in task.inputs},
            deadline_seconds=task.deadline_seconds,
            estimates=type(task).expected_seconds is not Task.expected_seconds,
        )

    @property
    def interface_hash(self) -> str:
        """Name the very interface: SHA-256 of the service's name and its inputs' descriptions."""
        canonical = json.dumps([self.service, self.interface], sort_keys=True, separators=(",", ":"))
        return hashlib.sha256(canonical.encode()).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Turn into what is written into the database."""
        return asdict(self)
