"""Run the private PostgreSQL and the doors together and keep them alive, for ``make serve`` and ``make demo``."""

from tomaat.launch.cannot_start import CannotStart
from tomaat.launch.door import Door
from tomaat.launch.instance import Instance
from tomaat.launch.supervisor import Supervisor

__all__ = ["CannotStart", "Door", "Instance", "Supervisor"]
