"""Tasks and what is offered of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tomaat.services.Offer import Offer
from tomaat.services.Task import Cancelled, Task, TaskRefused

if TYPE_CHECKING:
    from tomaat.services.Task import Outputs
else:
    Outputs = dict[str, Any]  # the annotation of perform(); its members are described in Task.py

__all__ = ["Cancelled", "Offer", "Outputs", "Task", "TaskRefused"]
