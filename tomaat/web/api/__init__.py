"""The routes of the protocol."""

from tomaat.web.api.api import Api
from tomaat.web.api.examples import Examples
from tomaat.web.api.waiters import Waiters

__all__ = ["Api", "Examples", "Waiters"]
