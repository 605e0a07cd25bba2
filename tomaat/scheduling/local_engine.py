"""Starts workers as processes on this machine. ``engine.py`` is the seam to other engines."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from queue import SimpleQueue

import structlog

from tomaat.devices.compute_source import ComputeSource
from tomaat.devices.device_reading import DeviceReading
from tomaat.devices.device_watch import DeviceWatch
from tomaat.messages import Channel, ChannelClosed, FromLane, FromWorker, TakePlace
from tomaat.processes.leftovers import adopt_orphans, end_orphans, end_session
from tomaat.processes.proc import start_time
from tomaat.scheduling.spare_worker import SpareWorker
from tomaat.scheduling.temporary_folders import TemporaryFolders
from tomaat.scheduling.worker_output import WorkerOutput
from tomaat.scheduling.worker_user import UMASK, WorkerUser

log = structlog.get_logger()

KEPT_VARIABLES = ("PATH", "HOME", "LANG", "LC_ALL", "TZ", "TMPDIR", "LD_LIBRARY_PATH", "VIRTUAL_ENV")
STOP_SECONDS = 5.0
OfLane = tuple[str, int]  #: a source's name, and a lane's number
KILL_SECONDS = 10.0  #: after which a worker that was killed counts as one that a driver holds
LONGEST_TURN_SECONDS = 10.0  #: of a start that says nothing; the next one waits for it no longer


class LocalWorker:
    """The handle of a process that holds one compute source's device.

    Its end is noticed by the process itself, not by the channel: a child of it may keep that open.
    """

    def __init__(
        self,
        *,
        process: subprocess.Popen[bytes],
        channel: Channel[FromWorker],
        started: int,
        output: WorkerOutput | None = None,
        clean_up: Callable[[], None] = lambda: None,
        is_up: Callable[[], None] = lambda: None,
    ) -> None:
        """Hold a process that ``started`` so many clock ticks after the boot; ``output`` bounds what it prints.

        Once it no longer starts, ``is_up`` is called; once it has ended, ``clean_up``.
        """
        self.process = process
        self.channel = channel
        self.started = started
        self.output = output
        self.clean_up = clean_up
        self.is_up = is_up
        self.is_starting = True  #: it has sent nothing yet
        self.pidfd = os.pidfd_open(process.pid)
        self.gone = False

    @property
    def pid(self) -> int:
        """The process's id."""
        return self.process.pid

    @property
    def end_fd(self) -> int:
        """A descriptor that becomes readable once the process has ended."""
        return self.pidfd

    def fileno(self) -> int:
        """Let ``poll`` wait for its messages."""
        return self.channel.fileno()

    def send(self, message: FromLane) -> None:
        """Send it a message. Raises ``ChannelClosed`` when it has ended."""
        self.channel.send(message)

    def has_message(self) -> bool:
        """Tell whether ``receive`` would return at once."""
        return self.channel.has_message()

    def receive(self) -> FromWorker:
        """Wait for its next message. Raises ``ChannelClosed`` when it has ended, ``MessageRefused`` for nonsense."""
        try:
            return self.channel.receive()
        finally:
            self._note_up()

    def _note_up(self) -> None:
        if self.is_starting:
            self.is_starting = False
            self.is_up()

    def count_output(self, ticket: int) -> None:
        """Bound what it prints from now on as this ticket's."""
        if self.output is not None:
            self.output.begin(ticket)

    def alive(self) -> bool:
        """Tell whether it still runs."""
        return not self._ended_within(0.0)

    def kill(self) -> None:
        """Kill it, with the processes that it has started: it holds nothing that could be lost."""
        end_session(self.process.pid)
        self.process.kill()
        self._note_up()

    def stop(self) -> None:
        """Kill it, and give its handle back; one that the kernel does not end, for a driver's sake, is left."""
        self.kill()
        self.channel.close()
        self._ended_within(KILL_SECONDS)
        if not self.is_gone():
            log.error("worker.not_ended", pid=self.pid, reason=f"it was killed, and is there {KILL_SECONDS:g} s later")

    def is_gone(self) -> bool:
        """Tell whether it has ended after ``stop``, so that another worker may have its device."""
        if not self.gone and not self.alive():
            self.process.wait()
            os.close(self.pidfd)
            self.gone = True
            self.clean_up()
        return self.gone

    def ending(self) -> str:
        """Say how it ended, for a client to read."""
        if not self._ended_within(STOP_SECONDS):
            return "closed its channel"
        status = self._status()
        if status < 0:
            return f"was ended by signal {-status} ({signal.Signals(-status).name})"
        return f"exited with status {status}"

    def _status(self) -> int:
        """Tell with which status it ended; its id stays taken until ``stop``, unless somebody waited for it already."""
        try:
            told = os.waitid(os.P_PIDFD, self.pidfd, os.WEXITED | os.WNOWAIT)
        except ChildProcessError:
            return self.process.wait()
        if told is None:  # it cannot be without WNOHANG
            return 0
        return told.si_status if told.si_code == os.CLD_EXITED else -told.si_status

    def _ended_within(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self.pidfd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


@dataclass(frozen=True, kw_only=True)
class Request:
    """A lane's wish for a worker, which it waits for unless it is ``ending``."""

    lane: OfLane
    place: TakePlace
    ending: Callable[[], bool]
    python: str | None = None  #: that runs it; ``None``: the one that runs this program
    answer: SimpleQueue[LocalWorker | Exception | None] = field(default_factory=SimpleQueue)


class LocalEngine:
    """Starts workers; lanes ask from their threads, the main thread starts them.

    The kernel's "end with your parent" follows the thread that started a process, so that must be one that lives as
    long as the program. As many start at once as there are processors, the first lanes before the second ones: what a
    worker imports takes a processor for seconds, and more of them would make all of them late.
    """

    def __init__(
        self,
        worker_options: Sequence[str],
        *,
        folder: Path,
        wake_main: Callable[[], None],
        user: WorkerUser | None = None,
        keeps_spare: bool = False,
        found: Sequence[ComputeSource] = (),
        watch: DeviceWatch | None = None,
    ) -> None:
        """Start workers in ``folder``: a clone has the code there, and relative paths of tasks begin there.

        They run as ``user``, or as the user of this process. With ``keeps_spare`` one more waits to take a place. The
        sources that were ``found`` are read by ``watch``.
        """
        self.found = found
        self.watch = watch
        self.worker_options = worker_options
        self.user = user
        self.folder = folder
        self.wake_main = wake_main
        self.requests: SimpleQueue[Request] = SimpleQueue()
        self.waiting: list[Request] = []  #: for their turn
        self.starting: list[tuple[LocalWorker, float]] = []  #: and until when others wait for them
        self.most_starting = os.cpu_count() or 1
        self.workers: set[int] = set()  #: the ids of all processes that were started
        self.latest: dict[OfLane, LocalWorker] = {}
        self.temporary = TemporaryFolders(user)
        self.temporary.remove_left_over()
        self.keeps_spare = keeps_spare
        self.spare = SpareWorker(self._start_process)
        adopt_orphans()

    @property
    def duties(self) -> Sequence[Callable[[], None]]:
        """What is done with each heartbeat."""
        return (self.end_orphans, self.keep_spare)

    def sources(self) -> Sequence[ComputeSource]:
        """List the compute sources of this machine, which stay as they were found."""
        return self.found

    def reading(self, name: str) -> DeviceReading | None:
        """Take a source's latest reading, if there is one that was not taken."""
        return None if self.watch is None else self.watch.take(name)

    def start(
        self,
        source: ComputeSource,
        kept: Path,
        lane: int,
        *,
        shared: bool,
        ending: Callable[[], bool],
        python: str | None = None,
    ) -> LocalWorker | None:
        """Let the main thread start a lane's worker in its turn; ``None`` for a lane that is ``ending`` by then.

        It imports the tasks from the copy ``kept``. The device is ``shared`` with the workers of other lanes. Raises
        ``OSError`` when the machine refuses another process, or when the lane's former worker does not end. It is run
        by ``python``, of another virtual environment, or as this program is.
        """
        place = TakePlace(
            device=source.torch_device,
            visible_devices=source.visible_devices,
            kept=kept,
            services=source.services,
            memory_bytes=source.memory_bytes,
            shared=shared,
        )
        request = Request(lane=(source.name, lane), place=place, ending=ending, python=python)
        self.requests.put(request)
        self.wake_main()
        started = request.answer.get()
        if isinstance(started, Exception):
            raise started
        return started

    def serve_requests(self) -> None:
        """Start the workers that lanes have asked for and whose turn it is; called by the main thread only."""
        while not self.requests.empty():
            self.waiting.append(self.requests.get())
        waiting = sorted(self.waiting, key=lambda request: request.lane[1])
        self.waiting = [request for request in waiting if not self._serve(request)]

    def _serve(self, request: Request) -> bool:
        """Answer a lane; ``False``: it is not its turn yet. A spare has done its imports, and waits for none."""
        self.starting = [each for each in self.starting if each[0].is_starting and time.monotonic() < each[1]]
        if request.ending():
            request.answer.put(None)
            return True
        if (request.python or self.spare.worker is None) and len(self.starting) >= self.most_starting:
            return False
        try:
            request.answer.put(self._start(request))
        except Exception as error:  # noqa: BLE001 (the lane that waits for the answer hears it, whatever it is)
            request.answer.put(error)
        return True

    def keep_spare(self) -> None:
        """Start a spare worker where one is due; called by the main thread only. May raise ``OSError``."""
        if self.keeps_spare and not self.waiting:
            self.spare.keep()

    def end_spare(self) -> None:
        """End the spare worker, if there is one; called by the main thread only."""
        self.keeps_spare = False
        self.spare.end()

    def end_left_over(self, source: str, pid: int, started: int) -> bool:
        """Kill the worker of a holder that is gone, if it is still that very process; tells whether it was."""
        del source
        return end_left_over(pid, started)

    def close(self) -> None:
        """Read the devices no longer."""
        if self.watch is not None:
            self.watch.close()

    def end_orphans(self) -> None:
        """Kill the processes that workers have left behind; called by the main thread only."""
        self.workers = end_orphans(self.workers)

    def _start(self, request: Request) -> LocalWorker:
        lane, place = request.lane, request.place
        former = self.latest.get(lane)
        if former is not None and not former.is_gone():
            raise OSError(f"its former worker, process {former.pid}, was killed and is still there")
        worker = None if request.python else self.spare.take(place)
        if worker is None:
            worker = self._start_process(request.python)
            with contextlib.suppress(ChannelClosed):  # it has ended, as its lane hears
                worker.send(place)
        if worker.output is not None:
            worker.output.source = lane[0]
        self.starting.append((worker, time.monotonic() + LONGEST_TURN_SECONDS))
        self.spare.note_start()
        self.latest[lane] = worker
        return worker

    def _start_process(self, python: str | None = None) -> LocalWorker:
        """Start a worker that waits for ``TakePlace``, run by ``python`` or as this program is."""
        temporary = self.temporary.make()
        channel, other_end = Channel.pair()
        output = WorkerOutput()
        log_lines = os.dup(sys.stderr.fileno())
        command = self._command(python or sys.executable, channel=other_end.fileno(), log=log_lines)
        process: subprocess.Popen[bytes] | None = None
        try:
            process = subprocess.Popen(
                command if self.user is None else self.user.command(command),
                cwd=self.folder,
                env=self._environment(temporary, python),
                pass_fds=[other_end.fileno(), log_lines],
                stdin=subprocess.DEVNULL,
                stdout=output.pipe_in,
                stderr=output.pipe_in,
                umask=-1 if self.user is None else UMASK,
                start_new_session=True,
            )
            worker = LocalWorker(
                process=process,
                channel=channel,
                started=start_time(process.pid) or 0,
                output=output,
                clean_up=partial(self.temporary.remove, temporary),
                is_up=self.wake_main,
            )
            output.start()
        except BaseException:
            if process is not None:  # nobody else could end it
                process.kill()
                process.wait()
            self.temporary.remove(temporary)
            output.give_up()
            channel.close()
            raise
        finally:
            other_end.close()
            os.close(log_lines)
        self.workers.add(process.pid)
        return worker

    def _command(self, python: str, *, channel: int, log: int) -> list[str]:
        return [
            python,
            *("-m", "tomaat.worker"),
            *("--channel", str(channel)),
            *("--log", str(log)),
            *("--parent", str(os.getpid())),
            *self.worker_options,
        ]

    def _environment(self, temporary: Path | None, python: str | None) -> dict[str, str]:
        """Make a worker's environment; what torch compiles holds nothing of a ticket, and stays."""
        environment = scrubbed(os.environ)
        if python is not None:
            environment.pop("VIRTUAL_ENV", None)  # this program's own
        if self.user is not None:
            environment = self.user.environment(environment)
        return environment if temporary is None else environment | self.temporary.environment(temporary)


def scrubbed(environment: Mapping[str, str]) -> dict[str, str]:
    """Make a worker's environment: no credentials, no settings, and no device until ``TakePlace`` names one."""
    kept = {name: environment[name] for name in KEPT_VARIABLES if name in environment}
    return {
        **kept,
        "PYTHONUNBUFFERED": "1",
        "CUDA_VISIBLE_DEVICES": "",
        "CUDA_DEVICE_ORDER": "PCI_BUS_ID",
    }


def end_left_over(pid: int, started: int) -> bool:
    """Kill the worker of a holder that is gone, if it is still that very process; tells whether it was."""
    if start_time(pid) != started:
        return False
    end_session(pid)
    return True
