"""Run WebService as several processes that answer on the same sockets.

::

    python3 WebService.py                          binds the sockets, starts the others, answers nobody
      |- python3 WebService.py --process 1 ...     a whole WebService; it ends with the first, however that ends
      `- python3 WebService.py --process 2 ...
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tomaat.launch.cannot_start import CannotStart
from tomaat.launch.door import Door
from tomaat.launch.supervisor import Supervisor
from tomaat.processes.misconfigured import Misconfigured
from tomaat.processes.private import DATABASE_URL
from tomaat.processes.proc import network_namespace
from tomaat.processes.stop import Stop
from tomaat.storage import Storage
from TOMAATSettings import Settings

LOOK_SECONDS = 0.5
GRACE_SECONDS = 15.0  #: for a process to answer what it has begun
COUNTS = "PROMETHEUS_MULTIPROC_DIR"  #: prometheus_client's word for the folder of all processes' counts


@dataclass(frozen=True, kw_only=True)
class WebProcess:
    """Which of several processes this one is, from 1 on; ``None``: the first one, or the only one."""

    number: int | None
    sockets: Sequence[socket.socket]  #: bound already

    @classmethod
    def told(cls) -> WebProcess:
        """Read what the first process says on the command line."""
        parser = argparse.ArgumentParser(description="Settings are environment variables; the README lists them.")
        parser.add_argument("--process", type=int, help=argparse.SUPPRESS)
        parser.add_argument("--sockets", type=int, nargs="+", default=[], help=argparse.SUPPRESS)
        words = parser.parse_args()
        return cls(number=words.process, sockets=[socket.socket(fileno=number) for number in words.sockets])


def run_several(program: Path, settings: Settings, sockets: Sequence[socket.socket], stop: Stop) -> None:
    """Keep as many processes of a program running as the settings say, until the door is asked to stop.

    Raises ``Misconfigured`` where one says that it cannot run as it is set up.
    """
    counts = _empty_folder(settings)
    descriptors = [each.fileno() for each in sockets]
    processes = [
        Door(
            program,
            os.environ | {DATABASE_URL: settings.DATABASE_URL, COUNTS: str(counts)},
            grace_seconds=GRACE_SECONDS,
            words=["--process", str(number), "--sockets", *map(str, descriptors)],
            descriptors=descriptors,
            dies_by=signal.SIGKILL,  # at once: the port is free for who comes next
        )
        for number in range(1, settings.WEB_PROCESSES + 1)
    ]
    supervisor = Supervisor(processes)
    try:
        supervisor.tend()
        while not stop.sleep(LOOK_SECONDS):
            supervisor.tend()
    except CannotStart as error:
        raise Misconfigured(str(error)) from error
    finally:
        for bound in sockets:
            bound.close()
        for each in processes:
            each.ask_to_end()  # all together
        supervisor.stop()
        shutil.rmtree(counts, ignore_errors=True)


def _empty_folder(settings: Settings) -> Path:
    """Make the folder in which the processes count: nobody else has this address on this host's network.

    Containers may have one host's name, one address and one storage folder; each has a network of its own.
    """
    storage = Storage(settings.BASE_STORAGE_DIR)
    storage.prepare()
    name = f"counts-{settings.HOST_NAME}-{settings.HOST}-{settings.PORT}-{network_namespace()}"
    folder = storage.temporary / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
    return folder
