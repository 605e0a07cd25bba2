"""What a service is: the task that implements it, the offer that describes it, the payload that asks for it.

Standard library only: finding tasks (``tomaat.services.find``) and writing their outputs (``tomaat.services.outputs``)
is the worker's, and imported from there.
"""

from tomaat.services.Cancelled import Cancelled
from tomaat.services.Offer import Offer
from tomaat.services.Task import Outputs, Task
from tomaat.services.TaskRefused import TaskRefused

__all__ = ["Cancelled", "Offer", "Outputs", "Task", "TaskRefused"]
