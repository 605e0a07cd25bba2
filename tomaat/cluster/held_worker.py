"""One lane's worker on a node, between its process and the connection to its lane."""

from __future__ import annotations

import select
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tomaat.cluster.node_files import NodeFiles
from tomaat.cluster.stream import MESSAGE, WORDS, Stream, StreamClosed, words_of
from tomaat.devices.compute_source import ComputeSource
from tomaat.messages import FROM_LANE, ChannelClosed, FromLane, MessageRefused, read, write
from tomaat.scheduling.local_engine import LocalEngine, LocalWorker

LOOK_SECONDS = 1.0


class HeldWorker:
    """One lane's worker, between its process and its connection."""

    def __init__(self, stream: Stream, files: NodeFiles, engine: LocalEngine, ending: Callable[[], bool]) -> None:
        self.stream = stream
        self.files = files
        self.engine = engine
        self.ending = ending
        self.worker: LocalWorker | None = None
        self.gone = False  #: its lane wants it no longer
        self.over = False  #: it has ended
        self.wish: SimpleQueue[dict[str, Any] | None] = SimpleQueue()

    def serve(self) -> None:
        """Start a worker as the lane asks; pass on what both say; keep its files until the lane goes."""
        try:
            folder = self.files.make_worker()
        except OSError as error:
            self.stream.say(refused=f"its node cannot hold files: {error.strerror}")
            return
        self.stream.say(worker=folder.name, place=str(folder))
        listening = threading.Thread(target=self._listen, name="lane", daemon=True)
        listening.start()
        try:
            wish = self.wish.get()
            if wish is not None and self._start(wish):
                self._relay()
        except StreamClosed:
            pass  # the lane is gone
        finally:
            self._end_worker()
            if self.ending():
                self.stream.shut()
            listening.join()
            self.files.end_worker(folder)

    def _start(self, wish: Mapping[str, Any]) -> bool:
        services = wish["source"]["services"]
        source = ComputeSource(**wish["source"])
        try:
            self.worker = self.engine.start(
                replace(source, services=None if services is None else tuple(services)),
                Path(wish["kept"]),
                wish["lane"],
                shared=wish["shared"],
                ending=lambda: self.gone or self.ending(),
                python=wish["python"],
            )
        except OSError as error:
            self.stream.say(refused=str(error))
            return False
        if self.worker is None:
            self.stream.say(refused="the node ends")
            return False
        self.stream.say(pid=self.worker.pid, started=self.worker.started)
        return True

    def _listen(self) -> None:
        """Hear the lane until it goes."""
        try:
            while True:
                kind, data = self.stream.receive()
                if kind == MESSAGE and self.worker is not None:
                    self._send(self.worker, read(bytes(data), FROM_LANE))
                elif kind == WORDS:
                    self._obey(words_of(data))
        except (StreamClosed, MessageRefused):
            self.stream.shut()
        finally:
            self.gone = True
            self.wish.put(None)
            self._kill()

    def _send(self, worker: LocalWorker, message: FromLane) -> None:
        try:
            worker.send(message)
        except ChannelClosed:  # it has ended, which is told, or reads nothing
            self._kill()

    def _obey(self, words: dict[str, Any]) -> None:
        match words:
            case {"start": wish}:
                self.wish.put(wish)
            case {"kill": True}:
                self.gone = True
                self._kill()
            case {"count": ticket} if self.worker is not None:
                self.worker.count_output(ticket)

    def _kill(self) -> None:
        if self.worker is not None and not self.over:
            self.worker.kill()

    def _relay(self) -> None:
        """Pass on what the worker says until it has ended, then say how."""
        worker = self.worker
        if worker is None:
            return
        poll = select.poll()
        poll.register(worker, select.POLLIN)
        poll.register(worker.end_fd, select.POLLIN)
        nonsense = False
        while not nonsense:
            ready = {descriptor for descriptor, _ in poll.poll(LOOK_SECONDS * 1000)}
            if self.gone or self.ending():
                worker.kill()
            if worker.fileno() in ready:
                try:
                    self.stream.send(MESSAGE, write(worker.receive()))
                except ChannelClosed:
                    break
                except MessageRefused:
                    nonsense = True
                    worker.kill()
            elif ready:
                break
        ending = worker.ending()
        self._end_worker()
        self.stream.say(ended=ending, nonsense=nonsense)

    def _end_worker(self) -> None:
        if self.worker is not None and not self.over:
            self.over = True
            self.worker.stop()
