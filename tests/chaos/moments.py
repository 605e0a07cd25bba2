"""The named moments at which a fault can strike, wrapped around the program's own functions from outside.

Nothing of this is in the program: in production there are no crash points. The doors of a trial are started by
``python3 -m tests.chaos.held``, which wraps them and then runs the door's file; the worker is wrapped by the task that
it loads (``ChaosTask.py``).
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from tests.chaos.Control import Control

SENT_AT_ONCE = 100_000  #: bytes of a result, so that there is a half way
WEB, MANAGER, SCHEDULER, WORKER = "WebService.py", "QueueManager.py", "TaskScheduling.py", "worker"


@dataclass(frozen=True)
class Moment:
    """Where one process is held."""

    name: str
    process: str
    deleting: bool = False  #: the client asks for deletion after it fetched the result


OF_A_QUEUE = ("manager before its update", "manager after its update")  #: that gives a ticket to a queue
MOMENTS = (
    Moment("upload half way", WEB),
    Moment("before flush", WEB),
    Moment("after rename", WEB),
    Moment("after insert", WEB),
    *(Moment(name, MANAGER) for name in OF_A_QUEUE),
    Moment("after claim", SCHEDULER),
    Moment("mid-run", WORKER),
    Moment("result half written", WORKER),
    Moment("after rename of the result", SCHEDULER),
    Moment("after completion", SCHEDULER),
    Moment("download half way", WEB),
    Moment("deletion, row done", MANAGER, deleting=True),
    Moment("deletion, half of the files gone", MANAGER, deleting=True),
    Moment("renewing the lease", SCHEDULER),
)


def hold(door: str, control: Control) -> None:
    """Wrap the functions of one door."""
    {WEB: _hold_web, MANAGER: _hold_manager, SCHEDULER: _hold_scheduler}[door](control)


def _hold_web(control: Control) -> None:
    unpacking = importlib.import_module("tomaat.archives.unpack")._Unpacking
    storage = importlib.import_module("tomaat.storage.storage")
    tickets = importlib.import_module("tomaat.tickets.ticket_store")
    results = importlib.import_module("tomaat.web.api.results")

    def after_a_member(result: Any, _: tuple[Any, ...]) -> None:
        control.reach("upload half way")

    after(unpacking, "_copy", after_a_member)
    before(storage.Storage, "keep", lambda _: control.reach("before flush"))
    before(storage, "flush", lambda arguments: arguments[0].name == "tickets" and control.reach("after rename"))
    insert = tickets.TicketStore._insert

    def insert_and_reach(store: Any, submission: Any, source: str) -> Any:
        """Leave the ticket to the manager where that is to be held."""
        rows = insert(store, submission, tickets.NOWHERE if any(map(control.is_armed, OF_A_QUEUE)) else source)
        control.reach("after insert")
        return rows

    tickets.TicketStore._insert = insert_and_reach

    def read_slowly(_: None, arguments: tuple[Any, ...]) -> None:
        sent_file, read = arguments[0], arguments[0].read

        def read_and_reach(size: int = -1) -> bytes:
            if sent_file.file.tell():
                control.reach("download half way")
            return read(min(size, SENT_AT_ONCE) if size >= 0 else size)

        sent_file.read = read_and_reach

    after(results.SentFile, "__init__", read_slowly)


def _hold_manager(control: Control) -> None:
    store = importlib.import_module("tomaat.tickets.manager_store").ManagerStore
    sweep = importlib.import_module("tomaat.manager.sweep")
    sweep.STRAY_SECONDS, sweep.EVERY_SECONDS = 20.0, 2.0  # an hour is too long for a trial
    before(store, "assign", lambda arguments: arguments[1] and control.reach("manager before its update"))
    after(store, "assign", lambda queued, _: queued and control.reach("manager after its update"))
    after(store, "expire", lambda ended, _: ended and control.reach("deletion, row done"))
    after(store, "removable", lambda ended, _: ended and control.reach("deletion, half of the files gone"))


def _hold_scheduler(control: Control) -> None:
    store = importlib.import_module("tomaat.tickets.lane_store").LaneStore
    sources = importlib.import_module("tomaat.tickets.source_store").SourceStore
    storage = importlib.import_module("tomaat.storage.storage")

    def before_flush(arguments: tuple[Any, ...]) -> None:
        if (arguments[0] / storage.RESULT).exists():
            control.reach("after rename of the result")

    after(store, "_take_claims", lambda tickets, _: tickets and control.reach("after claim"))
    before(storage, "flush", before_flush)
    after(store, "_succeeded", lambda *_: control.reach("after completion"))
    before(sources, "renew_all", lambda arguments: arguments[1] and control.reach("renewing the lease"))


def before(owner: Any, name: str, call: Callable[[tuple[Any, ...]], Any]) -> None:
    """Let ``call`` see a function's arguments before it runs."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        call(arguments)
        return original(*arguments, **named)

    setattr(owner, name, wrapped)


def after(owner: Any, name: str, call: Callable[[Any, tuple[Any, ...]], Any]) -> None:
    """Let ``call`` see a function's result and arguments after it ran."""
    original = getattr(owner, name)

    @functools.wraps(original)
    def wrapped(*arguments: Any, **named: Any) -> Any:
        result = original(*arguments, **named)
        call(result, arguments)
        return result

    setattr(owner, name, wrapped)
