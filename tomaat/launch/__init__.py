"""What ``make serve`` and ``make demo`` run: the private PostgreSQL and the doors, kept alive together."""

from tomaat.launch.CannotStart import CannotStart
from tomaat.launch.Door import Door
from tomaat.launch.Instance import Instance
from tomaat.launch.Supervisor import Supervisor

__all__ = ["CannotStart", "Door", "Instance", "Supervisor"]
