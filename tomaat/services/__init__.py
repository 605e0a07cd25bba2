"""A service: the task that implements it, the offer that describes it, the payload that asks for it.

Standard library only: finding tasks (``tomaat.services.find``) and writing their outputs (``tomaat.services.outputs``)
is the worker's, and imported from there.
"""

from tomaat.services.cancelled import Cancelled
from tomaat.services.expected_memory import ExpectedMemory
from tomaat.services.offer import Offer
from tomaat.services.task import Outputs, Task
from tomaat.services.task_refused import TaskRefused

__all__ = ["Cancelled", "ExpectedMemory", "Offer", "Outputs", "Task", "TaskRefused"]
