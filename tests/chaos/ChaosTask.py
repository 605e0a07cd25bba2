"""The task of the trials: it journals each run, can be held, and behaves as badly as it is asked to.

A trial copies this file into a folder of its own; the folder beside it is the trial's ``Control``.
"""

import ctypes
import importlib
import itertools
import json
import os
import secrets
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from Inputs import IntInput, SingleChoiceInput, StringInput
from tests.chaos.Control import Control
from tests.chaos.moments import before
from tomaat.services import Outputs, Task, TaskRefused

control = Control(Path(__file__).parents[1] / "control")
packing = importlib.import_module("tomaat.worker.packing")
performer = importlib.import_module("tomaat.worker.performing")
running: list[str] = [""]


def _note_key(arguments: tuple[Any, ...]) -> None:
    running[0] = arguments[1].key


def _pack_in_two(members: Any, archive: Path, before_each: Callable[[], object]) -> None:
    begun = itertools.count()

    def held() -> None:
        before_each()
        if next(begun):
            control.reach("result half written")

    _pack(members, archive, held)


if packing.pack.__name__ != _pack_in_two.__name__:  # once for each worker
    before(performer.Performer, "take", _note_key)
    _pack, packing.pack = packing.pack, _pack_in_two


class Chaos(Task):
    """Gives back what it was given, with the name of this very run."""

    task_identifier = "Chaos"
    description = "Gives back what it was given."
    inputs = (
        StringInput("nonce", "A word that no other ticket has"),
        IntInput("kilobytes", "Size of the result", default=600),
        SingleChoiceInput("how", "How it behaves", choices=["well", "raises", "refuses", "segfault", "kill", "exit"]),
    )

    def perform(self, nonce: str, kilobytes: int, how: str) -> Outputs:
        run = secrets.token_hex(8)
        control.note("workers", json.dumps({"key": running[0], "nonce": nonce, "run": run, "at": time.time()}))
        self.progress(0.5, "held")
        control.reach("mid-run")
        if how == "raises":
            raise RuntimeError(nonce)
        if how == "refuses":
            raise TaskRefused("it was asked to refuse")
        if how == "segfault":
            ctypes.string_at(0)
        if how == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        if how == "exit":
            sys.exit(7)
        return {"nonce": nonce, "run": run, "ballast": np.frombuffer(secrets.token_bytes(kilobytes * 1024), np.uint8)}


class ChaosPoisons(Task):
    """Says what no database, log or page can take, and expects what no sum can hold."""

    task_identifier = "ChaosPoisons"
    description = "Says what nothing can take."
    inputs = (StringInput("nonce", "A word that no other ticket has"),)

    def expected_seconds(self, inputs: Any) -> float:
        return float("inf") if inputs["nonce"] < "M" else 1.7e308

    def perform(self, nonce: str) -> Outputs:
        del nonce
        self.progress(float("nan"), "slice\0 of caf\udce9")
        time.sleep(0.5)
        raise TaskRefused("series 1.2.3\0 of caf\udce9.dcm is too short. " + 200_000 * "x")


class ChaosHangs(Task):
    """Never ends by itself."""

    task_identifier = "ChaosHangs"
    description = "Never ends by itself."
    deadline_seconds = 1.0
    inputs = (StringInput("nonce", "A word that no other ticket has"),)

    def perform(self, nonce: str) -> Outputs:
        time.sleep(3600)
        return {"nonce": nonce}
