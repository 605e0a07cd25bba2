"""A client of TOMAAT servers: ``Client(url).run("BrainExtraction", head="head.nii.gz")``.

Speaks HTTP only, needs ``requests`` only, runs from Python 3.9 on, imports nothing of the server.
"""

from tomaat.client.client import Client
from tomaat.client.errors import (
    EXIT_CODES,
    ClientError,
    Damaged,
    Failed,
    GivenUp,
    NotAllowed,
    NotFound,
    NotReady,
    Refused,
    Unreachable,
    Unusable,
)
from tomaat.client.result import Result
from tomaat.client.step import Step
from tomaat.client.ticket import Ticket

__all__ = [
    "EXIT_CODES",
    "Client",
    "ClientError",
    "Damaged",
    "Failed",
    "GivenUp",
    "NotAllowed",
    "NotFound",
    "NotReady",
    "Refused",
    "Result",
    "Step",
    "Ticket",
    "Unreachable",
    "Unusable",
]

__version__ = "0.1.0"
