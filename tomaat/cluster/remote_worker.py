"""The handle of a worker on a node: its lane talks to it as to one of this machine.

The lane has its end of an ordinary channel. Threads at the other end bring each ticket's files to the node before its
message goes there, and its result back before the lane hears of it.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import select
import socket
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from queue import SimpleQueue
from typing import Any

import structlog

from tomaat.cluster.bringer import Bringer
from tomaat.cluster.outbox import Outbox
from tomaat.cluster.pieces import NotTaken, UnwantedFile, hear_answer, take_file
from tomaat.cluster.stream import MESSAGE, WORDS, Stream, StreamClosed, words_of
from tomaat.contents.digest import size_of
from tomaat.messages import (
    DRAFT,
    FILES,
    FROM_LANE,
    FROM_WORKER,
    LARGEST_MESSAGE,
    Channel,
    ChannelClosed,
    DiskFull,
    Estimate,
    Estimated,
    Forget,
    FromLane,
    FromWorker,
    GiveUp,
    MakeRoom,
    MessageRefused,
    NoResult,
    Packed,
    Perform,
    ReadAhead,
    Reload,
    TaskCrashed,
    TaskStopped,
    ToEstimate,
    cleaned,
    read,
    write,
)
from tomaat.storage.disk import DISK_FULL

log = structlog.get_logger()

KILL_SECONDS = 10.0  #: after which a worker that was killed counts as ended: its node does not answer
SMALL_BYTES = 64 * 1024  #: of inputs that travel for an estimate
LONGEST_ENDING = 200  #: characters
AWAY = "was lost with its node, or with the way there"
CANNOT_HOLD = "was ended, since its node could not hold its files"


@dataclass(frozen=True, kw_only=True)
class JobThere:
    """One claim of a ticket that a node has."""

    ticket: str  #: its folder's name
    out: Path  #: on this machine


class RemoteWorker:
    """Used by the lane's thread; five threads of its own carry things."""

    def __init__(
        self,
        words: Stream,
        back: Stream | None,
        bringer: Bringer | None,
        *,
        pid: int,
        started: int,
        place: Path,
        release: Callable[..., None],
    ) -> None:
        """Hold a worker that was started on a node; without ``back`` and ``bringer`` both sides see the same disk.

        ``release`` takes the connections that are used no longer.
        """
        self.release = release
        self.pid = pid
        self.started = started
        self.place = place
        self.words = words
        self.back = back
        self.bringer = bringer
        self.channel, there = Channel.pair()
        self.lane = Channel(there, FROM_LANE)
        self.outbox = Outbox(words)
        self.end_fd, self.end_in = os.pipe()
        self.how = AWAY
        self.over = False
        self.jobs: dict[str, JobThere] = {}
        self.unsent: set[str] = set()  #: claims whose files are not there yet
        self.given_up: set[str] = set()
        self.next_inputs: str | None = None  #: the ticket whose inputs were wanted last
        self.ahead: str | None = None  #: the ticket whose inputs are there, unclaimed
        self.asked: dict[int, str] = {}  #: tickets whose task was asked how long they take, and their folders' names
        self.going: SimpleQueue[FromLane | str | None] = SimpleQueue()  #: a text: a claim, or a folder, to let go
        self.packed: SimpleQueue[Packed | None] = SimpleQueue()
        works = (self._hear_lane, self._bring, self._hear_worker, self._fetch)
        self.threads = [threading.Thread(target=work, name=f"worker {pid}", daemon=True) for work in works]
        for thread in self.threads:
            thread.start()

    # The lane's side

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
        return self.channel.receive()

    def count_output(self, ticket: int) -> None:
        """Bound what it prints from now on as this ticket's."""
        self.outbox.say(count=ticket)

    def alive(self) -> bool:
        """Tell whether it still runs, as far as is known."""
        return not self._ended_within(0.0)

    def kill(self) -> None:
        """Kill it; its end is heard after its last messages."""
        self.outbox.say(kill=True)

    def stop(self) -> None:
        """Kill it, wait until it has ended, and give everything back; a node that does not answer is left."""
        self.kill()
        if not self._ended_within(KILL_SECONDS):
            log.error("worker.not_ended", pid=self.pid, reason=f"its node has not answered for {KILL_SECONDS:g} s")
        self._shut()
        self.channel.close()
        for thread in self.threads:
            thread.join(KILL_SECONDS)
        os.close(self.end_fd)

    def ending(self) -> str:
        """Say how it ended, for a client to read."""
        self._ended_within(KILL_SECONDS)
        return self.how

    def _ended_within(self, seconds: float) -> bool:
        poll = select.poll()
        poll.register(self.end_fd, select.POLLIN)
        return bool(poll.poll(seconds * 1000))

    def _shut(self) -> None:
        """Let all threads notice that nothing more is to be carried."""
        self.over = True
        self.words.shut()
        if self.back is not None:
            self.back.shut()
        if self.bringer is not None:
            self.bringer.stream.shut()

    def _lose(self, event: str, how: str, **facts: Any) -> None:
        """End a worker whose node cannot hold files: a ticket spends an attempt, and may run elsewhere."""
        self.how = how
        log.error(event, pid=self.pid, **facts)
        self._shut()

    def _tell_lane(self, message: FromWorker) -> None:
        with contextlib.suppress(ChannelClosed):  # the lane has let it go
            self.lane.send(message)

    # To the node

    def _hear_lane(self) -> None:
        """Take the lane's messages; one that is given up stops on its way."""
        try:
            while True:
                message = self.lane.receive()
                match message:
                    case GiveUp():
                        self.given_up.add(message.key)
                        if message.key not in self.unsent:
                            self._say(message)
                        continue
                    case Perform():
                        self.unsent.add(message.key)
                        self.next_inputs = message.inputs.parent.name
                    case ReadAhead():
                        self.next_inputs = message.inputs.parent.name
                    case Forget():
                        self.next_inputs = None
                    case MakeRoom():  # no file belongs to it, and another lane waits
                        self._say(message)
                        continue
                self.going.put(message)
        except (ChannelClosed, MessageRefused):
            self.outbox.say(kill=True)
        finally:
            self.going.put(None)

    def _say(self, message: FromLane) -> None:
        self.outbox.send(MESSAGE, write(message))

    def _bring(self) -> None:
        """Carry messages to the node in their order, each behind its files."""
        try:
            while (message := self.going.get()) is not None:
                if self.bringer is None:
                    if not isinstance(message, str):
                        self._pass_on(message)
                elif isinstance(message, str):
                    self._let_go(message, self.bringer)
                else:
                    self._carry(message, self.bringer)
        except NotTaken as error:
            self._lose("node.not_written", CANNOT_HOLD, reason=error.strerror)
        except Exception as error:  # noqa: BLE001 (the lane hears that its worker is lost, whatever it is)
            if not self.over:
                log.error("node.not_reached", pid=self.pid, error=type(error).__name__, reason=str(error))
            self._shut()
        finally:
            if self.bringer is not None:
                self.release(self.bringer.stream)
            self.outbox.close()

    def _pass_on(self, message: FromLane) -> None:
        self._say(message)
        if isinstance(message, Perform):
            self.unsent.discard(message.key)
            if message.key in self.given_up:
                self._say(GiveUp(key=message.key))

    def _carry(self, message: FromLane, bringer: Bringer) -> None:
        match message:
            case Perform():
                self._carry_job(message, bringer)
            case ReadAhead():
                self._carry_ahead(message, bringer)
            case Forget():
                self._say(message)
                self._drop_ahead(None, bringer)
            case Reload():
                copy = self.place / bringer.bring_tasks(message.copy)
                self._say(replace(message, copy=copy))
            case Estimate():
                self._carry_estimate(message, bringer)
            case _:
                self._say(message)

    def _carry_job(self, message: Perform, bringer: Bringer) -> None:
        ticket = message.inputs.parent.name
        out = Path(ticket, "out", message.out.name)
        try:
            self._drop_ahead(ticket, bringer)
            wanted = partial(self._is_wanted, message.key)
            bringer.bring_inputs(message.inputs, wanted=wanted, out=str(out))
        except UnwantedFile:
            self._end_unsent(message.key, TaskStopped(key=message.key))
            bringer.drop(ticket)
        except (StreamClosed, NotTaken):  # the next ticket would fare no better
            raise
        except OSError as error:
            self._end_unsent(message.key, end_of_carrying(message.key, error))
            bringer.drop(ticket)
        else:
            self.jobs[message.key] = JobThere(ticket=ticket, out=message.out)
            self.ahead = None
            self._pass_on(replace(message, inputs=self.place / ticket / "in", out=self.place / out))

    def _is_wanted(self, key: str) -> bool:
        return key not in self.given_up and not self.over

    def _end_unsent(self, key: str, end: FromWorker) -> None:
        self.unsent.discard(key)
        self._tell_lane(end)

    def _carry_ahead(self, message: ReadAhead, bringer: Bringer) -> None:
        ticket = message.inputs.parent.name
        self._drop_ahead(ticket, bringer)
        try:
            bringer.bring_inputs(message.inputs, wanted=lambda: self.next_inputs == ticket and not self.over)
        except UnwantedFile:
            return
        except StreamClosed:
            raise
        except OSError:
            return  # the reason is told once it is claimed
        self.ahead = ticket
        self._say(replace(message, inputs=self.place / ticket / "in"))

    def _carry_estimate(self, message: Estimate, bringer: Bringer) -> None:
        """Ask about tickets whose files are there, or small; no volume travels for it: of those the task cannot say."""
        asked = [each for each in message.tickets if self._is_there(each, bringer)]
        self.asked |= {each.ticket: each.inputs.parent.name for each in asked}
        there = [replace(each, inputs=self.place / each.inputs.parent.name / "in") for each in asked]
        if there:
            self._say(Estimate(tickets=tuple(there)))
        others: dict[int, float | None] = {each.ticket: None for each in message.tickets if each not in asked}
        if others:
            self._tell_lane(Estimated(seconds=others))

    def _is_there(self, asked: ToEstimate, bringer: Bringer) -> bool:
        try:
            if asked.inputs.parent.name not in bringer.there and size_of(asked.inputs) <= SMALL_BYTES:
                bringer.bring_inputs(asked.inputs, wanted=lambda: not self.over)
        except UnwantedFile:
            return False
        except StreamClosed:
            raise
        except OSError:
            return False  # the reason is told once it is claimed
        return asked.inputs.parent.name in bringer.there

    def _let_go(self, what: str, bringer: Bringer) -> None:
        """Remove the files of a claim that has ended, or of a ticket that was estimated, unless another needs them."""
        job = self.jobs.pop(what, None)
        ticket = what if job is None else job.ticket
        if ticket in bringer.there and ticket != self.ahead and ticket not in self._performed_tickets():
            bringer.drop(ticket)

    def _performed_tickets(self) -> set[str]:
        return {job.ticket for job in self.jobs.values()}

    def _drop_ahead(self, ticket: str | None, bringer: Bringer) -> None:
        """Remove the inputs that were brought ahead, unless they are this ticket's."""
        ahead = self.ahead
        if ahead is not None and ahead != ticket:
            self.ahead = None
            self._let_go(ahead, bringer)

    # From the node

    def _hear_worker(self) -> None:
        """Pass the worker's messages on, but for a packed result, which is fetched first."""
        try:
            while True:
                kind, data = self.words.receive()
                if kind == MESSAGE:
                    self._take(data)
                elif kind == WORDS and self._has_ended(words_of(data)):
                    return
        except StreamClosed:
            pass
        finally:
            self.over = True
            self.packed.put(None)

    def _has_ended(self, words: dict[str, Any]) -> bool:
        if "ended" in words:
            self.how = cleaned(str(words["ended"]), LONGEST_ENDING)
            if words.get("nonsense"):
                self._pass_raw(b"?")
        return "ended" in words

    def _take(self, data: bytes | bytearray) -> None:
        try:
            message = read(bytes(data), FROM_WORKER)
        except MessageRefused:
            self._pass_raw(b"?")  # the lane refuses it, as on one machine
            return
        if isinstance(message, Packed):
            self.packed.put(message)
            return
        if isinstance(message, DiskFull) and self.bringer is not None:  # the lane looks at this machine's disk
            self._lose("node.disk_full", CANNOT_HOLD, key=message.key)
            return
        self._tell_lane(message)
        if isinstance(message, NoResult):
            self.going.put(message.key)
        if isinstance(message, Estimated):
            for ticket in message.seconds:
                self.going.put(self.asked.pop(ticket, ""))

    def _pass_raw(self, data: bytes) -> None:
        with contextlib.suppress(OSError):
            self.lane.end.send(data[:LARGEST_MESSAGE])

    def _fetch(self) -> None:
        """Bring results back; at the end, let the lane notice the worker's."""
        try:
            while (message := self.packed.get()) is not None:
                self._tell_lane(self._fetched(message, self.jobs.get(message.key)))
                self.going.put(message.key)
        except StreamClosed:
            self._shut()
        finally:
            with contextlib.suppress(OSError):
                self.lane.end.shutdown(socket.SHUT_RDWR)
            self._shut()
            os.close(self.end_in)
            for thread in (*self.threads[:3], self.outbox.thread):
                thread.join()
            self.lane.close()
            self.release(self.words, self.back)

    def _fetched(self, message: Packed, job: JobThere | None) -> FromWorker:
        """Bring a result back; one that is not there is missed by the lane when it is sealed."""
        if self.back is None or job is None:
            return message
        size_bytes = 0
        try:
            (job.out / FILES).mkdir(exist_ok=True)
            self.back.say(get=f"{job.ticket}/out/{job.out.name}/{DRAFT}")
            size_bytes = hear_answer(self.back)["size_bytes"]
            fault = take_file(self.back, job.out / DRAFT)
        except StreamClosed:
            raise
        except OSError as error:
            fault = error
        if fault is not None:
            log.error("result.not_fetched", key=message.key, reason=fault.strerror)
        if fault is None or fault.errno not in DISK_FULL:
            return message
        leave_hole(job.out / DRAFT, size_bytes)
        return DiskFull(key=message.key)


def leave_hole(place: Path, size_bytes: int) -> None:
    """Leave a file that takes no room where a result did not fit: the lane waits for room by its size."""
    with contextlib.suppress(OSError), place.open("wb") as hole:
        hole.truncate(size_bytes)


def end_of_carrying(key: str, error: OSError) -> FromWorker:
    """Tell how a claim ends whose files could not be read here."""
    reference = secrets.token_hex(4)
    log.error("inputs.not_brought", key=key, reference=reference, reason=error.strerror)
    told = "Its input could not be brought to a node: a fault of this machine."
    return TaskCrashed(key=key, error=type(error).__name__, told=told, reference=reference)
