"""Starts workers on nodes: the engine that lanes see where they are not of this machine.

How nodes are found is another's business: it tells of each that has begun to serve, as ``RayNodes`` does.
"""

from __future__ import annotations

import select
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Protocol

import structlog

import tomaat
from tomaat.cluster.bringer import Bringer, TaskFiles
from tomaat.cluster.code import code_sha256
from tomaat.cluster.outbox import Outbox
from tomaat.cluster.pieces import NotTaken
from tomaat.cluster.remote_worker import RemoteWorker
from tomaat.cluster.stream import BEAT, LINES, WORDS, Stream, StreamClosed, reach, words_of
from tomaat.devices.compute_source import ComputeSource
from tomaat.devices.device_reading import DeviceReading

log = structlog.get_logger()

LOOK_SECONDS = 0.2  #: between two looks whether a lane still wants the worker that it waits for


@dataclass(frozen=True, kw_only=True)
class NodeWishes:
    """What every node is told: how its sources are chosen, and how its workers are started."""

    wanted: Mapping[str, Sequence[str] | None] | None
    devices: Mapping[str, str]
    memory_bytes: Mapping[str, int]
    options: Sequence[str]  #: of workers; the folder of tasks and the threads are the node's own
    most_lanes: int
    keeps_spare: bool
    log_format: str
    log_level: str
    beat_seconds: float
    silent_seconds: float  #: after which both sides take the other for dead
    tasks: Path  #: the folder of tasks, on this machine
    shared_disk: bool  #: the nodes see this machine's folders by the same paths: nothing is copied


@dataclass(frozen=True, kw_only=True)
class NodePlace:
    """Where a node serves."""

    name: str
    host: str
    port: int


class Finder(Protocol):
    """Finds nodes, and lets ``python -m tomaat.cluster`` serve on each; what another kind of cluster has to bring."""

    def tend(self) -> None:
        """Look after it, with each heartbeat; may raise ``OSError``."""

    def close(self) -> None:
        """End what it has started on the nodes."""


class RemoteNode:
    """The connection to one node, in a thread of its own; without it, all its workers have ended."""

    def __init__(self, place: NodePlace, secret: bytes) -> None:
        self.place = place
        self.secret = secret
        self.sources: list[ComputeSource] = []
        self.readings: dict[str, DeviceReading] = {}
        self.streams: set[Stream] = set()  #: all connections to it
        self.outbox: Outbox | None = None
        #: one worker after the other brings the folder of tasks: the next one finds it there
        self.bringing = ThreadPoolExecutor(1, thread_name_prefix=f"tasks {place.name}")
        self.lost = False

    def reach(self, **purpose: Any) -> Stream:
        """Make another connection. Raises ``OSError``."""
        stream = reach(self.place.host, self.place.port, self.secret, **purpose)
        self.streams.add(stream)
        if self.lost:  # maybe before it was added
            stream.shut()
        return stream

    def release(self, *streams: Stream | None) -> None:
        """Give connections back that nobody uses."""
        for stream in filter(None, streams):
            self.streams.discard(stream)
            stream.close()

    def end(self) -> None:
        """Let it be lost, and all its workers with it; any thread may call it."""
        self.lost = True
        for each in list(self.streams):
            each.shut()

    def serve(self, wishes: NodeWishes, ready: Callable[[], None]) -> None:
        """Tell the node what is wanted of it, and hear it until it is gone. Raises ``OSError``."""
        told = {name: getattr(wishes, name) for name in wishes.__dataclass_fields__ if name != "shared_disk"}
        told |= {"version": tomaat.__version__, "code": code_sha256()}
        told["tasks"] = str(wishes.tasks) if wishes.shared_disk else None
        stream = self.reach(what="node", name=self.place.name, **told)
        try:
            stream.end.settimeout(wishes.silent_seconds)
            self.outbox = Outbox(stream)
            while True:
                kind, data = stream.receive()
                if kind == LINES:
                    write_lines(data)
                elif kind == WORDS:
                    self._hear(words_of(data), ready)
                elif kind != BEAT:
                    raise StreamClosed("a frame that was not expected")
        finally:
            self.end()
            self.bringing.shutdown(wait=False)
            if self.outbox is not None:
                self.outbox.close()
            if self.outbox is not None:
                self.outbox.thread.join()
            self.release(stream)

    def _hear(self, words: dict[str, Any], ready: Callable[[], None]) -> None:
        match words:
            case {"refused": reason}:
                raise StreamClosed(str(reason))
            case {"sources": found}:
                self.sources = [source_of(each) for each in found]
                if any(source.name.partition("/")[0] != self.place.name for source in self.sources):
                    raise StreamClosed("it names sources of another node")
                ready()
            case {"reading": reading, "of": name}:
                self.readings[name] = DeviceReading(**reading)


class RemoteEngine:
    """Implements ``Engine``: each source is a node's, and ``<node>/<GPU's UUID | cpu-n>`` its name."""

    def __init__(self, wishes: NodeWishes, secret: bytes, *, wake_main: Callable[[], None]) -> None:
        self.wishes = wishes
        self.secret = secret
        self.wake_main = wake_main
        self.nodes: dict[str, RemoteNode] = {}
        self.tasks = TaskFiles(wishes.tasks)
        self.finder: Finder | None = None
        self.starting: set[Stream] = set()  #: the connections of workers that are being started
        self.ending = False  #: all lanes will end
        self.closing = False
        code_sha256()  # now, as it was imported

    # Nodes

    def join(self, place: NodePlace) -> None:
        """Take in a node that serves by now; any thread may call it."""
        if not self.closing:
            threading.Thread(target=self._serve, args=(place,), name=f"node {place.name}", daemon=True).start()

    def _serve(self, place: NodePlace) -> None:
        former, node = self.nodes.get(place.name), RemoteNode(place, self.secret)
        self.nodes[place.name] = node
        if former is not None:  # it was started again before its end was noticed
            former.end()
        try:
            node.serve(self.wishes, lambda: self._note_ready(node))
        except OSError as error:
            if not self.closing:
                log.warning("node.away", node=place.name, reason=str(error))
        finally:
            if self.nodes.get(place.name) is node:
                del self.nodes[place.name]
            self.wake_main()

    def _note_ready(self, node: RemoteNode) -> None:
        log.info("node.joined", node=node.place.name, sources=[source.name for source in node.sources])
        self.wake_main()

    def _node_of(self, source: str) -> RemoteNode:
        node = self.nodes.get(source.partition("/")[0])
        if node is None or node.lost:
            raise OSError("its node is away")
        return node

    # The engine

    @property
    def duties(self) -> Sequence[Callable[[], None]]:
        """What is done with each heartbeat."""
        return () if self.finder is None else (self.finder.tend,)

    def sources(self) -> Sequence[ComputeSource]:
        """List the sources of all nodes that are reached now."""
        return [source for node in list(self.nodes.values()) if not node.lost for source in node.sources]

    def reading(self, name: str) -> DeviceReading | None:
        """Take a source's latest reading, if there is one that was not taken."""
        node = self.nodes.get(name.partition("/")[0])
        return None if node is None else node.readings.pop(name, None)

    def start(
        self,
        source: ComputeSource,
        kept: Path,
        lane: int,
        *,
        shared: bool,
        ending: Callable[[], bool],
        python: str | None = None,
    ) -> RemoteWorker | None:
        """Start a lane's worker on its source's node; see ``Engine``."""
        node = self._node_of(source.name)
        streams: list[Stream] = []
        worker = None
        try:
            words = self._reach(node, streams, what="worker")
            made = hear_done(words)
            back, bringer = None, None
            if not self.wishes.shared_disk:
                there = self._reach(node, streams, what="there", worker=made["worker"])
                back = self._reach(node, streams, what="back", worker=made["worker"])
                bringer = Bringer(there, self.tasks, node.bringing)
            place = Path(made["place"])
            copy = kept if bringer is None else place / bringer.bring_tasks(kept)
            wish = {"source": asdict(source), "kept": str(copy), "lane": lane, "shared": shared, "python": python}
            words.say(start=wish)
            told = hear_start(words, ending)
            if told is not None:
                pid, started = told["pid"], told["started"]
                worker = RemoteWorker(words, back, bringer, pid=pid, started=started, place=place, release=node.release)
        except NotTaken as error:
            raise OSError(f"its node cannot hold files: {error.strerror}") from error
        except OSError:
            if not self.ending:
                raise
        finally:
            self.starting.difference_update(streams)
            if worker is None:
                node.release(*streams)
        return worker

    def _reach(self, node: RemoteNode, streams: list[Stream], **purpose: Any) -> Stream:
        """Make a connection for a worker that is being started, which may be told to end at any moment."""
        stream = node.reach(**purpose)
        streams.append(stream)
        self.starting.add(stream)
        if self.ending:  # maybe before it was added
            stream.shut()
        return stream

    def serve_requests(self) -> None:
        """Do nothing: the main thread of the node starts the workers."""

    def end_left_over(self, source: str, pid: int, started: int) -> bool:
        """Let the node end the worker of a holder that is gone; it logs whether it was there."""
        with suppress(OSError):
            outbox = self._node_of(source).outbox
            if outbox is not None:
                outbox.say(left_over=[pid, started])
        return False

    def end_spare(self) -> None:
        """Start no worker any longer, however much of the folder of tasks is on its way; each node ends its spare."""
        self.ending = True
        for stream in list(self.starting):
            stream.shut()

    def close(self) -> None:
        """Let the nodes go, which end their workers then."""
        self.closing = True
        for node in list(self.nodes.values()):
            node.end()
        if self.finder is not None:
            self.finder.close()


def hear_start(words: Stream, ending: Callable[[], bool]) -> dict[str, Any] | None:
    """Wait until a worker has started; ``None`` once its lane is ``ending``. Raises ``OSError`` where it is refused."""
    poll = select.poll()
    poll.register(words.end, select.POLLIN)
    while not poll.poll(LOOK_SECONDS * 1000):
        if ending():
            return None
    return hear_done(words)


def hear_done(words: Stream) -> dict[str, Any]:
    """Wait until a node has done its part of a worker's start. Raises ``OSError`` where it is refused."""
    told = words.hear()
    if "refused" in told:
        raise OSError(str(told["refused"]))
    return told


def source_of(told: Mapping[str, Any]) -> ComputeSource:
    """Read a source as its node tells it."""
    services = told["services"]
    return ComputeSource(**{**told, "services": None if services is None else tuple(services)})


def write_lines(lines: bytes | bytearray) -> None:
    """Write a node's lines among those of this program."""
    with suppress(OSError):
        sys.stderr.write(lines.decode("utf-8", "replace"))
        sys.stderr.flush()
