"""All connections together: how many there may be, how much they spool, and how many uploads are unpacked at once.

The thread that serves all connections calls what is public here, but ``leave_unpacking``. It waits for nobody: a key
that was not seen before is looked for in another thread, which calls ``_find_keys``, and an upload that finds no place
waits without a thread.
"""

from __future__ import annotations

import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Mapping
from queue import SimpleQueue
from typing import Any, Protocol

import structlog

from tomaat.database import DatabaseUnavailable
from tomaat.processes.log import frames_of
from tomaat.web.http.addresses import Proxies, one_for_all
from tomaat.web.http.connection import Connection, Parser
from tomaat.web.http.gate import KEY_HEADER
from tomaat.web.http.problems import Problem, retry_later

log = structlog.get_logger()

MOST_CONNECTIONS = 1000
LOOK_SECONDS = 1.0
AWAY_SECONDS = 1.0  #: for which the database is not asked, after it was found away
TELL_SECONDS = 60.0  #: between two lines of the log about closed connections


class Doorkeeper(Protocol):
    """Decides on requests to an application, as ``Gate`` does."""

    app: Any
    proxies: Proxies

    def is_upload(self, request: Any) -> bool:
        """Tell whether the request brings a payload to unpack."""

    def look(self, request: Any) -> int | None:
        """Return how many bytes the body may have, ``None`` where the key has to be asked for; raises ``Problem``."""

    def ask(self, shown: str, address: str) -> int:
        """Ask for the key, and return how many bytes the body may have; raises ``Problem``."""


class Connections:
    """Bounds what all connections take together.

    ``sockets`` has them in the order in which they came. ``start`` gives a request to the server's threads.
    """

    def __init__(
        self,
        sockets: Mapping[int, Any],
        gate: Doorkeeper,
        *,
        most_of_one_address: int,
        largest_spools_bytes: int,
        most_unpacking: int,
        start: Callable[[Connection], None],
        wake: Callable[[], None],
    ) -> None:
        self.sockets = sockets
        self.gate = gate
        self.proxies = gate.proxies
        self.most_of_one_address = most_of_one_address
        self.largest_spools_bytes = largest_spools_bytes
        self.most_unpacking = most_unpacking
        self.start = start
        self.wake = wake
        self.waiting: deque[Connection] = deque()  #: with an upload that finds no place
        self.unpacking: set[Connection] = set()
        self.keys_to_find: SimpleQueue[tuple[Connection, Parser, str, str]] = SimpleQueue()
        self.decided: SimpleQueue[tuple[Connection, Parser, int | Problem]] = SimpleQueue()
        self.looked = self.told = time.monotonic()
        self.closed: Counter[str] = Counter()
        self.away_until = 0.0  #: of the database, for the thread ``keys``
        threading.Thread(target=self._find_keys, name="keys", daemon=True).start()

    def all(self) -> list[Connection]:
        """List the connections, the oldest first."""
        return [each for each in self.sockets.values() if isinstance(each, Connection)]

    def enter(self, connection: Connection) -> None:
        """Take a new connection; beyond a limit the oldest that has no complete header is closed, else the new one."""
        everybody = [each for each in self.all() if not each.will_close]
        if len(everybody) > MOST_CONNECTIONS:
            self._close_one(everybody, connection, "most-connections")
        elif not self.proxies.trusts(connection.peer):
            name = one_for_all(connection.peer)
            same = [each for each in everybody if one_for_all(each.peer) == name]
            if len(same) > self.most_of_one_address:
                self._close_one(same, connection, "most-of-one-address")

    def _close_one(self, among: list[Connection], newest: Connection, reason: str) -> None:
        closed = next((each for each in among if each.idle and each is not newest), newest)
        closed.will_close = True  # the loop closes it at its next turn
        self.closed[reason] += 1

    def ask(self, connection: Connection, request: Parser) -> None:
        """Let a thread ask for the key of a request."""
        self.keys_to_find.put((connection, request, request.headers.get(KEY_HEADER, ""), connection.addr[0]))

    def reserve(self, connection: Connection, request: Parser, body_bytes: int) -> None:
        """Reserve room for a spool. Raises ``Problem``, unless all the others have none."""
        holders = {*self.all(), *self.unpacking, *self.waiting, connection}
        others = sum(each.spooled_bytes for each in holders) - request.reserved_bytes
        if others and others + body_bytes > self.largest_spools_bytes:
            detail = "The server holds as many bytes of uploads as it takes; try again later."
            raise retry_later(503, "busy", "Busy", detail, 10)
        request.reserved_bytes = body_bytes

    def add_task(self, connection: Connection) -> None:
        """Answer a connection's request as soon as a thread has time; an upload: as soon as it has a place."""
        request = connection.requests[0]
        if request.error is None and self.gate.is_upload(request):
            self.waiting.append(connection)
            self._begin_uploads()
        else:
            self.start(connection)

    def leave_unpacking(self, connection: Connection) -> None:
        """Give a connection's place to the next upload; the thread that had it calls this."""
        if connection in self.unpacking:
            self.unpacking.discard(connection)
            self.wake()

    def turn(self) -> None:
        """Do what is due, each time that something happened, and at least once a second."""
        while not self.decided.empty():
            connection, request, decision = self.decided.get()
            connection.decide(request, decision)
        self._begin_uploads()
        now = time.monotonic()
        if now - self.looked >= LOOK_SECONDS:
            self.looked = now
            self.closed.update(filter(None, (each.look_at_time(now) for each in self.all())))
            if self.closed and now - self.told >= TELL_SECONDS:
                log.warning("web.connections_closed", **{why.replace("-", "_"): n for why, n in self.closed.items()})
                self.told = now
                self.closed.clear()

    def _begin_uploads(self) -> None:
        while self.waiting and len(self.unpacking) < self.most_unpacking:
            connection = self.waiting.popleft()
            self.unpacking.add(connection)
            self.start(connection)

    def _find_keys(self) -> None:
        while True:
            connection, request, shown, address = self.keys_to_find.get()
            if not connection.waits_for(request):
                continue
            if connection.client_has_left():
                connection.will_close = True  # the loop, which does not read of it now, closes it at its next turn
            else:
                self.decided.put((connection, request, self._decision(shown, address)))
            self.wake()

    def _decision(self, shown: str, address: str) -> int | Problem:
        """Ask for a key; while the database is away, only once in a while, so that nobody waits for all before him."""
        away = retry_later(503, "unavailable", "Unavailable", "The server's database does not answer now.", 5)
        if time.monotonic() < self.away_until:
            return away
        try:
            return self.gate.ask(shown, address)
        except Problem as problem:
            return problem
        except DatabaseUnavailable:
            self.away_until = time.monotonic() + AWAY_SECONDS
            return away
        except Exception as error:  # noqa: BLE001 (whatever it is, others wait for this thread)
            log.error("keys.crashed", error=type(error).__name__, frames=frames_of(error))
            return Problem(500, "internal-error", "Internal error", "The server made a mistake.")
