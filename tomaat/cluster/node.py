"""A node: holds the workers of one machine for a TaskScheduling elsewhere, and brings files there and back.

It starts them by the same ``LocalEngine`` as on one machine. Each connection has a thread of its own.
"""

from __future__ import annotations

import errno
import select
import shutil
import socket
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any

import structlog

import tomaat
from tomaat.cluster.code import CODE, code_sha256
from tomaat.cluster.held_worker import HeldWorker
from tomaat.cluster.node_files import PART, NodeFiles
from tomaat.cluster.node_log import NodeLog
from tomaat.cluster.outbox import Outbox
from tomaat.cluster.pieces import NotAsSent, answer, inside, send_file, take_file
from tomaat.cluster.stream import WORDS, Stream, StreamClosed, greet, words_of
from tomaat.devices.compute_source import ComputeSource
from tomaat.devices.device_watch import DeviceWatch
from tomaat.devices.nvml import find_gpus
from tomaat.devices.sources import CPU, ComputeSourcesUnknown, find_sources, threads_of_each
from tomaat.processes.log import configure_logging
from tomaat.processes.stop import Stop
from tomaat.processes.waker import Waker
from tomaat.scheduling.local_engine import LocalEngine, end_left_over

log = structlog.get_logger()

UNASKED_SECONDS = 60.0  #: after which a node that nobody has asked for anything ends
BEAT_SECONDS = 1.0
ENDING_SECONDS = 10.0
AGAIN_SECONDS = 0.1  #: after which connections are taken again, where the machine refused one
MOST_UNGREETED = 64  #: connections that have not shown yet that they know the secret


class Node:
    """Ends when TaskScheduling goes away, or is silent for too long; with it all workers."""

    def __init__(self, listener: socket.socket, secret: bytes, files: NodeFiles, lines: NodeLog, stop: Stop) -> None:
        self.listener = listener
        self.secret = secret
        self.files = files
        self.lines = lines
        self.stop = stop
        self.waker = Waker()
        stop.also_wake(self.waker.wake)
        self.told: SimpleQueue[tuple[dict[str, Any], Outbox]] = SimpleQueue()
        self.asked_by: Outbox | None = None  #: the connection over which TaskScheduling has said what it wants
        self.engine: LocalEngine | None = None
        self.beat_seconds = BEAT_SECONDS
        self.ending = False
        self.connections: set[threading.Thread] = set()
        self.ends: set[socket.socket] = set()  #: of the connections
        self.ungreeted: set[socket.socket] = set()
        code_sha256()  # now, as it was imported

    def run(self) -> None:
        """Serve until told to end; the main thread, with which all workers would end."""
        threading.Thread(target=self._accept, name="accept", daemon=True).start()
        began, beat_at = time.monotonic(), 0.0
        while not (self.ending or self.stop.asked):
            with suppress(Empty):
                self._begin(*self.told.get_nowait())
            if self.engine is not None:
                self.engine.serve_requests()
                if time.monotonic() >= beat_at:
                    beat_at = time.monotonic() + self.beat_seconds
                    self._beat(self.engine)
            elif time.monotonic() - began > UNASKED_SECONDS:
                log.warning("node.unasked", reason=f"nobody has asked for anything within {UNASKED_SECONDS:g} s")
                break
            self._wait(self.beat_seconds)
        self._end()

    def _wait(self, seconds: float) -> None:
        poll = select.poll()
        poll.register(self.waker, select.POLLIN)
        poll.poll(seconds * 1000)
        self.waker.rest()

    def _begin(self, told: dict[str, Any], outbox: Outbox) -> None:
        """Find the sources, and get ready to start workers on them."""
        if told["version"] != tomaat.__version__:
            outbox.say(refused=f"it has version {tomaat.__version__}, and TaskScheduling {told['version']}")
            return
        if told.get("code") != code_sha256():
            outbox.say(refused="its code is not TaskScheduling's: bring both to one commit, and restart both")
            return
        configure_logging("node", told["log_format"], told["log_level"])
        try:
            found = sources_of(told["name"], told["wanted"], told["devices"], told["memory_bytes"])
        except ComputeSourcesUnknown as error:
            outbox.say(refused=str(error))
            return
        self.beat_seconds = told["beat_seconds"]
        tasks = self.files.tasks if told["tasks"] is None else Path(told["tasks"])
        threads = threads_of_each(found, told["most_lanes"])
        self.engine = LocalEngine(
            ["--tasks", str(tasks), "--threads", str(threads), *told["options"]],
            folder=CODE,
            wake_main=self.waker.wake,
            keeps_spare=told["keeps_spare"],
            found=found,
            watch=DeviceWatch(found, every_seconds=self.beat_seconds),
        )
        self.engine.workers.add(self.files.sweep())  # else it counts as an orphan
        self.asked_by = outbox
        outbox.say(sources=[asdict(source) for source in found])
        self.lines.give = outbox.send_lines
        log.info("node.ready", node=told["name"], sources=[source.name for source in found])

    def _beat(self, engine: LocalEngine) -> None:
        for duty in engine.duties:
            try:
                duty()
            except OSError as error:
                log.error("beat.fault", error=type(error).__name__)
        for source in engine.sources():
            reading = engine.reading(source.name)
            if reading is not None and self.asked_by is not None:
                self.asked_by.say(reading=asdict(reading), of=source.name)

    def _end(self) -> None:
        self.ending = True
        self.listener.close()
        for end in list(self.ends):
            Stream(end).shut()
        if self.engine is not None:
            self.engine.end_spare()
            self.engine.close()
        deadline = time.monotonic() + ENDING_SECONDS
        while any(thread.is_alive() for thread in self.connections) and time.monotonic() < deadline:
            if self.engine is not None:
                self.engine.serve_requests()
            time.sleep(0.02)
        self.files.close()

    # Connections

    def _accept(self) -> None:
        """Take connections as long as this node serves, whatever becomes of one."""
        refused = False
        while not self.ending:
            try:
                end, _ = self.listener.accept()
            except OSError as error:  # no descriptor is left, or the other end was gone at once
                if not self.ending and not refused:
                    log.warning("connection.not_taken", reason=error.strerror, then="it is tried again")
                refused = True
                time.sleep(AGAIN_SECONDS)
                continue
            refused = False
            if len(self.ungreeted) >= MOST_UNGREETED:
                end.close()
                continue
            self.ungreeted.add(end)
            thread = threading.Thread(target=self._serve, args=(end,), name="connection", daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                self.ungreeted.discard(end)
                end.close()
                log.warning("connection.not_taken", reason=str(error))
                time.sleep(AGAIN_SECONDS)
            else:
                self.connections = {each for each in self.connections if each.is_alive()} | {thread}

    def _serve(self, end: socket.socket) -> None:
        """Serve one connection until it ends."""
        self.ends.add(end)
        with end:
            try:
                stream, purpose = greet(end, self.secret)
                self.ungreeted.discard(end)
                what = purpose.get("what")
                if what == "node":
                    self._obey(stream, purpose)
                elif what == "worker" and self.engine is not None:
                    HeldWorker(stream, self.files, self.engine, lambda: self.ending).serve()
                elif what == "there":
                    self._take_files(stream, purpose.get("worker"))
                elif what == "back":
                    give_files(stream, inside(self.files.workers, purpose.get("worker")))
            except OSError as error:
                log.debug("connection.ended", reason=str(error))
            finally:
                self.ungreeted.discard(end)
                self.ends.discard(end)

    def _obey(self, stream: Stream, told: dict[str, Any]) -> None:
        """Hear TaskScheduling; when it goes, or says nothing for too long, this node ends."""
        if self.asked_by is not None:
            raise StreamClosed("another TaskScheduling has this node")
        stream.end.settimeout(told["silent_seconds"])
        outbox = Outbox(stream)
        self.told.put((told, outbox))
        self.waker.wake()
        try:
            while True:
                kind, data = stream.receive()
                left_over = words_of(data).get("left_over") if kind == WORDS else None
                if left_over and end_left_over(*left_over):
                    log.warning("worker.left_over_ended", pid=left_over[0])
        except StreamClosed as error:
            log.warning("node.left", reason=f"TaskScheduling is gone: {error}")
        finally:
            outbox.close()
            self.ending = True
            self.waker.wake()

    def _take_files(self, stream: Stream, name: object) -> None:
        """Take files of tickets and of tasks for one worker."""
        if name not in self.files.held:
            raise StreamClosed("there is no such worker")
        worker = inside(self.files.workers, name)
        try:
            while True:
                asked = stream.hear()
                try:
                    self._do(stream, worker, asked)
                except StreamClosed:
                    raise
                except OSError as error:
                    answer(stream, error)
        finally:
            self.files.end_taking(worker)

    def _do(self, stream: Stream, worker: Path, asked: dict[str, Any]) -> None:
        match asked:
            case {"put": name, "files": files}:
                take_folder(stream, worker, name, files)
            case {"out": name}:
                self.files.make_out(worker, name)
                answer(stream, None)
            case {"drop": name}:
                self.files.drop(worker, name)
                answer(stream, None)
            case {"tasks": told}:
                take_tasks(stream, self.files, told)
            case _:
                raise StreamClosed("nothing that a node does")


def sources_of(
    node: str, wanted: Mapping[str, Any] | None, devices: Mapping[str, str], memory_bytes: Mapping[str, int]
) -> list[ComputeSource]:
    """List a node's sources: its GPUs, or those ``wanted`` of them; ``cpu-n`` where it has none and that is wanted."""
    gpus = [gpu.uuid for gpu in find_gpus()]
    if wanted is None:
        chosen: dict[str, Any] = dict.fromkeys(gpus)
    else:
        chosen = {key: services for key, services in wanted.items() if key in gpus or (not gpus and CPU.fullmatch(key))}
    return find_sources(node, wanted=chosen, devices=devices, memory_bytes=memory_bytes) if chosen else []


def take_tasks(stream: Stream, files: NodeFiles, told: list[dict[str, Any]]) -> None:
    """Take what a node lacks of the folder of tasks, each file once, and then have all that arrived as it was told."""
    lacking = files.lacking(told)
    answer(stream, None, lacks=lacking)
    faults = []
    for place in lacking:
        draft = files.draft()
        fault = take_file(stream, draft, sha256=told[place]["sha256"])
        if fault is None:
            files.keep(draft, told[place])
        elif not isinstance(fault, NotAsSent):
            faults.append(fault)
    if not faults:
        files.set_tasks(told)
    answer(stream, faults[0] if faults else None)


def take_folder(stream: Stream, worker: Path, name: str, files: list[str]) -> None:
    """Take the files of a folder, which is there whole or not at all."""
    place = inside(worker, name)
    draft = place.with_name(f"{place.name}{PART}")
    fault: OSError | None = None
    try:
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
    except OSError as error:
        fault = error
    for each in files:
        target = inside(draft, each)
        with suppress(OSError):  # then the file cannot be written either
            target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        fault = take_file(stream, target) or fault
    if fault is None:
        shutil.rmtree(place, ignore_errors=True)
        draft.rename(place)
    else:
        shutil.rmtree(draft, ignore_errors=True)
    answer(stream, fault)


def give_files(stream: Stream, worker: Path) -> None:
    """Give results of one worker back."""
    while True:
        asked = stream.hear()
        path = inside(worker, asked.get("get"))
        if path.is_symlink() or not path.is_file():
            answer(stream, OSError(errno.ENOENT, "there is no such result"))
            continue
        answer(stream, None, size_bytes=path.stat().st_size)
        with suppress(OSError):  # the other end was told
            send_file(stream, path)
