"""The faults: what is done while a process is held at a moment, and what brings the service back."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass

from tests.chaos.disks import fill, make_room
from tests.chaos.moments import MANAGER, SCHEDULER, WEB, WORKER, Moment
from tests.chaos.Stage import LEASE_SECONDS, Stage, is_dead, seconds_until
from tests.service import DOORS
from tomaat.processes.proc import start_time

Figures = dict[str, float]
BOUNDS = {
    "worker dead": 1.0,
    "requeued": LEASE_SECONDS + 2,
    "reconnected": 5.0,
    "noticed": LEASE_SECONDS / 2,
}  #: seconds; a test fails at ten times of them
LONGEST_SECONDS = 60.0


@dataclass(frozen=True)
class Fault:
    """``strike`` while the moment is held, ``recover`` after it was released; both measure."""

    name: str
    strike: Callable[[Stage, Moment], Figures]
    recover: Callable[[Stage, Moment], Figures]
    reruns: frozenset[str] = frozenset()  #: processes at whose moments a ticket may rightly be started again


def _nothing(_: Stage, __: Moment) -> Figures:
    return {}


def kill(*victims: str) -> Callable[[Stage, Moment], Figures]:
    """SIGKILL."""

    def strike(stage: Stage, _: Moment) -> Figures:
        worker = stage.worker_pid()
        started = start_time(worker)
        if started is None:
            raise AssertionError("there is no worker to watch")
        for victim in victims:
            os.kill(worker if victim == WORKER else stage.process_of(victim), signal.SIGKILL)
        for door in set(victims) & set(DOORS):
            stage.doors[door].wait()
        if not {SCHEDULER, WORKER} & set(victims):
            return {}
        return {"worker dead": seconds_until(lambda: is_dead(worker, started), LONGEST_SECONDS)}

    return strike


def stop_for_three_leases(stage: Stage, moment: Moment) -> Figures:
    """SIGSTOP the process at the moment; a second one of its kind, which waits, is there to take over."""
    pid = stage.process_of(moment.process)
    os.kill(pid, signal.SIGSTOP)
    if moment.process in {MANAGER, SCHEDULER}:
        stage.others.append(stage.doors[moment.process])
        stage.start(moment.process)
    time.sleep(3 * LEASE_SECONDS)
    return {}


def go_on(stage: Stage, moment: Moment) -> Figures:
    """SIGCONT, and time to do the wrong thing."""
    stopped = stage.others[0].pid if stage.others else stage.process_of(moment.process)
    os.kill(stopped, signal.SIGCONT)
    time.sleep(LEASE_SECONDS)
    return {}


def stop_postgres(stage: Stage, _: Moment) -> Figures:
    """Stop PostgreSQL at once."""
    stage.stop_postgres()
    return {}


def kill_postgres(stage: Stage, _: Moment) -> Figures:
    """Kill PostgreSQL with all its processes."""
    stage.kill_postgres()
    return {}


def start_postgres(stage: Stage, _: Moment) -> Figures:
    """Let the doors see the outage, then start PostgreSQL again."""
    time.sleep(0.3)
    stage.postgres.start()
    return {"reconnected": seconds_until(stage.answers, LONGEST_SECONDS)}


def silence(stage: Stage, _: Moment) -> Figures:
    """Half-open TCP: nothing is closed, nothing arrives."""
    stage.proxy.silence()
    return {}


def speak(stage: Stage, _: Moment) -> Figures:
    """Measure how long the silence goes unnoticed, then let new connections through."""
    figures = {"noticed": seconds_until(lambda: not stage.answers(), LONGEST_SECONDS)}
    stage.proxy.speak()
    return figures | {"reconnected": seconds_until(stage.answers, LONGEST_SECONDS)}


def start_seconds(stage: Stage, _: Moment) -> Figures:
    """Start a second manager and a second scheduler beside the first."""
    for door in (MANAGER, SCHEDULER):
        stage.others.append(stage.doors[door])
        stage.start(door)
    return {}


def watch_both(_: Stage, __: Moment) -> Figures:
    """Give both the time to do what only one may; the first ones are killed afterwards, and the second take over."""
    time.sleep(LEASE_SECONDS)
    return {}


def fill_storage(stage: Stage, _: Moment) -> Figures:
    """Fill the disk that holds the tickets' files; the next write finds no room."""
    fill(stage.storage)
    return {}


def wait_and_make_room(stage: Stage, _: Moment) -> Figures:
    """Leave the disk full for a while, then make room: what waits has to go on by itself."""
    time.sleep(1.0)
    make_room(stage.storage)
    return {}


EVERYWHERE = frozenset({WEB, MANAGER, SCHEDULER, WORKER})
FAULTS = (
    Fault("SIGKILL of web", kill(WEB), _nothing),
    Fault("SIGKILL of manager", kill(MANAGER), _nothing),
    Fault("SIGKILL of scheduler", kill(SCHEDULER), _nothing, EVERYWHERE),
    Fault("SIGKILL of worker", kill(WORKER), _nothing, EVERYWHERE),
    Fault("SIGKILL of all", kill(WEB, MANAGER, SCHEDULER), _nothing, EVERYWHERE),
    Fault("SIGSTOP for three leases, then CONT", stop_for_three_leases, go_on, frozenset({SCHEDULER})),
    Fault("PostgreSQL stopped at once", stop_postgres, start_postgres),
    Fault("all processes of PostgreSQL killed", kill_postgres, start_postgres),
    Fault("half-open TCP to PostgreSQL", silence, speak),
    Fault("two managers, two schedulers", start_seconds, watch_both, EVERYWHERE),
)
DISK_FULL = Fault("disk full", fill_storage, wait_and_make_room, EVERYWHERE)
