"""The errors, one class per cause, with the server's own sentences and the command line's exit code."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar

EXIT_CODES = {
    0: "all was done",
    1: "the ticket failed; the server's sentence says why",
    2: "the command line is wrong, or the folder holds something else",
    3: "the inputs were refused: by the client, or by the server",
    4: "the server cannot be reached, or is too busy or broken to answer, for as long as `--patience` says",
    5: "the server wants an API key, or this one may not ask for the service",
    6: "there is no such service or ticket, or its result is no longer kept",
    7: "the ticket has not ended yet",
    8: "the ticket was given up",
    9: "the answer is damaged or not to be trusted; nothing of it was kept",
    10: "a file or folder of this machine cannot be read or written",
    130: "stopped by Ctrl-C; tickets go on at the server",
}


SEVERAL_SERIES = "several-series"  #: the server's word for a folder of more than one


class ClientError(Exception):
    """Anything that this package raises on purpose. ``problem`` has its details, as RFC 9457 names them.

    ``remedy`` says what to type, where the detail does not.
    """

    exit_code: ClassVar[int]

    def __init__(self, detail: str, problem: Mapping[str, Any] | None = None, *, remedy: str = "") -> None:
        super().__init__(detail)
        self.detail = detail
        self.problem: dict[str, Any] = {**(problem or {}), "detail": detail, **({"remedy": remedy} if remedy else {})}

    def __str__(self) -> str:
        return " ".join(self.sentences())

    @property
    def errors(self) -> list[dict[str, Any]]:
        """Each fault by itself: ``input``, ``code``, ``detail``; empty where the detail says it all."""
        errors = self.problem.get("errors")
        return [error for error in errors if isinstance(error, dict)] if isinstance(errors, list) else []

    def sentences(self) -> list[str]:
        """Write all of it, a sentence each."""
        told = [self.detail, *(str(error.get("detail")) for error in self.errors)]
        several = [str(error.get("input")) for error in self.errors if error.get("code") == SEVERAL_SERIES]
        told += [f"Choose one: add {id}.series=<its UID> to the command." for id in several]
        return list(dict.fromkeys([*told, *([self.problem["remedy"]] if "remedy" in self.problem else [])]))


class Failed(ClientError):
    """The ticket failed."""

    exit_code = 1


class Unusable(ClientError):
    """The command makes no sense here: an argument, an address, a folder that holds something else."""

    exit_code = 2


class Refused(ClientError):
    """The inputs were refused; ``errors`` has each fault."""

    exit_code = 3


class Unreachable(ClientError):
    """The server did not answer, or only that it cannot, for as long as patience lasted."""

    exit_code = 4


class NotAllowed(ClientError):
    """The server wants an API key, or another one."""

    exit_code = 5


class NotFound(ClientError):
    """There is no such service or ticket, or its result is no longer kept."""

    exit_code = 6


class NotReady(ClientError):
    """The ticket has not ended yet."""

    exit_code = 7


class GivenUp(ClientError):
    """The ticket was cancelled."""

    exit_code = 8


class Damaged(ClientError):
    """The result differs from the one that the server says it sent, or is no proper result."""

    exit_code = 9


def demand_path(path: str | os.PathLike[str], what: str) -> None:
    """Raise ``Unusable`` for an empty path, as an unset variable leaves it: it would mean the current folder."""
    if not os.fspath(path):
        raise Unusable(f"{what}: the path is empty.")
