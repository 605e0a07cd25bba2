"""What ``make serve`` and ``make demo`` run: the private PostgreSQL and the doors, kept alive together."""

from tomaat.launch.cannot_start import CannotStart
from tomaat.launch.door import Door
from tomaat.launch.instance import Instance
from tomaat.launch.supervisor import Supervisor

__all__ = ["CannotStart", "Door", "Instance", "Supervisor"]
