"""The description of a service, as it travels from the worker over the database to the web."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from tomaat.services.example import check_example
from tomaat.services.own_texts import texts_of
from tomaat.services.task import Task


@dataclass(frozen=True, kw_only=True)
class Offer:
    """A service: its name, its purpose, and its inputs."""

    service: str
    description: str
    version: str
    interface: dict[str, dict[str, Any]]  #: each input's description, by its id, in the order of the task
    deadline_seconds: float
    estimates: bool  #: the task itself foretells how long a ticket will take
    example: dict[str, Any]  #: values of inputs to try it with; may be empty
    file: str = ""  #: that holds its task, within the folder of tasks
    trial: bool = False  #: only to try with
    intended_use: str = ""
    licence: str = ""
    reference: str = ""
    contact: str = ""
    kind: str = ""  #: of the network folder that it was made from, if it was
    weights_sha256: str | None = None  #: of the network's file or folder

    @classmethod
    def of(cls, task: Task, file: str = "", weights_sha256: str | None = None) -> Offer:
        """Describe a task, and the weights that it has loaded."""
        return cls(
            service=task.task_identifier,
            description=task.description,
            version=task.version,
            interface={declared.id: declared.describe() for declared in task.inputs},
            deadline_seconds=float(task.deadline_seconds),
            estimates=type(task).expected_seconds is not Task.expected_seconds,
            example={
                each.id: check_example(each, task.example[each.id]) for each in task.inputs if each.id in task.example
            },
            file=file,
            trial=task.trial,
            weights_sha256=weights_sha256,
            **texts_of(task),
        )

    @property
    def interface_hash(self) -> str:
        """SHA-256 of the service's name and interface in canonical JSON.

        The name belongs to it: two services with equal inputs do not run each other's tickets.
        """
        facts = {"service": self.service, "interface": self.interface}
        canonical = json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(canonical.encode("ascii")).hexdigest()

    def to_json(self) -> dict[str, Any]:
        """Give the offer as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, offer: Mapping[str, Any]) -> Offer:
        """Make the offer again that was written by ``to_json``."""
        return cls(**offer)
