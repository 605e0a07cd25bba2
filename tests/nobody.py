"""Run a function as a user without rights, in a process of its own; the one that runs the tests stays root's."""

import contextlib
import os
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import pytest

NOBODY = 65534


def as_nobody(function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function that only reads returns to nobody, or raise what it raises; only root can ask."""
    if os.geteuid() != 0:
        pytest.skip("only root can become another user")
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(_without_rights, function, *arguments).result()


def _without_rights(function: Callable[..., Any], *arguments: Any) -> Any:
    with contextlib.suppress(Exception):
        function(*arguments)  # as root: this imports its modules, whose files nobody may not be able to read
    os.seteuid(NOBODY)
    return function(*arguments)
