"""What one worker offers and loads, and how much of it the database has been told."""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import asdict

from structlog.typing import FilteringBoundLogger

from tomaat.database import DatabaseUnavailable
from tomaat.devices.need import Need
from tomaat.messages import Expected, Loaded, Loading, Measured, NotOffered, Offered, WorkerReady
from tomaat.scheduling.beside import Beside
from tomaat.tickets.source_store import ITS_TASKS, Lease, SourceStore


class Offering:
    """Belongs to one worker, from its start to its end. Used by the lane's thread.

    What the workers of several lanes offer is the source's together: it is there as soon as one of them runs it.
    """

    def __init__(
        self,
        sources: SourceStore,
        lease: Lease,
        log: FilteringBoundLogger,
        *,
        load_seconds: float,
        beside: Beside,
    ) -> None:
        self.beside = beside
        self.sources = sources
        self.lease = lease
        self.log = log
        self.load_seconds = load_seconds
        self.offers: dict[str, Offered] = {}
        self.untold: list[Offered] = []  #: that are not in the database yet
        self.complete = False  #: the worker offers nothing else
        self.withdrawn = False  #: what it does not offer is not in the database any longer
        self.loading: Loading | None = None
        self.loading_since = 0.0
        self.told_loading: str | None = ITS_TASKS  #: as the database has it
        self.reloads = False  #: the worker loads changed tasks, as it was told to
        self.refusals: list[str] = []  #: the reasons for what was not offered meanwhile

    @property
    def interface_hashes(self) -> list[str]:
        """The hashes of the interfaces that the worker runs."""
        return [offered.interface_hash for offered in self.offers.values()]

    def reads_files(self, service: str) -> bool:
        """Tell whether a service has inputs that are files, as far as is known."""
        offered = self.offers.get(service)
        return offered is None or any(each.get("store") == "file" for each in offered.offer["interface"].values())

    def note(self, message: Loading | Loaded | Offered | NotOffered | WorkerReady) -> None:
        """Take a message of the worker about what it offers."""
        match message:
            case Loading():
                self.loading, self.loading_since = message, time.monotonic()
                self.log.info("task.loading", name=message.name)
            case Loaded():
                self.loading = None
            case Offered():
                self.offers[message.service] = message
                self.untold.append(message)
                self._tell_offered(message)
            case NotOffered():
                if self.reloads:
                    self.refusals.append(message.reason)
                self.log.error("task.refused", reason=message.reason)
            case WorkerReady():
                self.complete = True
                self.beside.tell(complete=True)
                self.tell()

    # Loading

    @property
    def load_deadline_seconds(self) -> float:
        """The seconds that the present loading may take."""
        declared = self.loading.deadline_seconds if self.loading is not None else None
        return self.load_seconds if declared is None else declared

    def loading_left(self, longest: float) -> float:
        """Tell for how many seconds the present loading may still last, at most ``longest``."""
        if self.loading is None:
            return longest
        return max(0.0, min(longest, self.loading_since + self.load_deadline_seconds - time.monotonic()))

    def begin_reload(self) -> None:
        """Note that the worker was told to load changed tasks."""
        self.reloads, self.refusals = True, []
        self.beside.tell(complete=False)

    def end_reload(self, services: Collection[str]) -> None:
        """Note that the worker has loaded changed tasks, and offers ``services`` and nothing else."""
        self.reloads = False
        self.offers = {name: offered for name, offered in self.offers.items() if name in services}
        self.withdrawn = False
        self.beside.tell(complete=True, offers=dict(self.offers))
        self.tell()

    # Telling

    @property
    def has_news(self) -> bool:
        """Whether the database does not know yet what the worker offers."""
        return bool(self.untold) or self.complete is not self.withdrawn or self.told_loading != self._loads

    @property
    def _loads(self) -> str | None:
        """What is still loaded before all that the worker offers is; networks that were let go do not count."""
        if (self.complete and not self.reloads) or any(lane.complete for lane in self.beside.others):
            return None
        return ITS_TASKS if self.loading is None else self.loading.name

    def tell(self) -> None:
        """Write the new offers, and withdraw the others once it is known that no more will come."""
        if not self.has_news:
            return
        loads = self._loads
        try:
            if self.untold:
                self.sources.offer(self.lease, [as_row(offered) for offered in self.untold])
                self.untold = []
            if self.complete and not self.withdrawn and all(lane.complete for lane in self.beside.others):
                self.sources.withdraw_others(self.lease, self.offers.keys() | self.beside.offered_by_others)
                self.withdrawn = True
            if loads != self.told_loading:
                since = time.monotonic() if self.loading is None else self.loading_since
                self.sources.note_loading(self.lease, loads, time.monotonic() - since)
                self.told_loading = loads
        except DatabaseUnavailable as error:
            self.log.warning("database.lost", reason=str(error))

    def _tell_offered(self, offered: Offered) -> None:
        """Tell the other lanes a service, what it needs, and whether its network is warm."""
        own = self.beside.own
        needs, warm = dict(own.needs), [service for service in own.warm if service != offered.service]
        if offered.network_bytes is not None:
            needs[offered.service] = Need(
                network_bytes=offered.network_bytes,
                peak_bytes=offered.peak_bytes,
                load_seconds=offered.load_seconds or 0.0,
            )
        if offered.warm is not None:
            warm.append(offered.service)
        self.beside.tell(offers=dict(self.offers), needs=needs, warm=warm)
        self.hold()

    def hold(self, service: str | None = None) -> None:
        """Tell the other lanes the most that the worker may hold now, and with a ticket of ``service``.

        What it held it may keep for later tickets, until it is told to make room.
        """
        own, needs = self.beside.own, self.beside.lanes.needs
        holds = sum(needs[name].network_bytes for name in own.warm if name in needs and name != service)
        if service in needs:
            holds += needs[service].most_bytes
        if holds > own.holds_bytes:
            self.beside.tell(holds_bytes=holds)

    def note_expected(self, expected: Expected) -> None:
        """Tell the other lanes the most that the worker is expected to hold while the present ticket performs."""
        own, needs = self.beside.own, self.beside.lanes.needs
        others = sum(needs[name].network_bytes for name in own.warm if name in needs and name != expected.service)
        self.beside.tell(expects_bytes=others + expected.peak_bytes)

    def note_room(self) -> None:
        """Note that the worker has let all its networks go, unless a ticket has loaded one again."""
        self.beside.tell(holds_bytes=0, warm=())
        self.hold(self.beside.own.performs)

    def note_measured(self, measured: Measured) -> None:
        """Write a measurement; one that the database did not take comes again with the next change."""
        need = Need(
            network_bytes=measured.network_bytes, peak_bytes=measured.peak_bytes, load_seconds=measured.load_seconds
        )
        self.beside.tell(needs={**self.beside.own.needs, measured.service: need}, warm=measured.warm)
        self.hold(self.beside.own.performs)
        elsewhere = [service for service in self.beside.warm_elsewhere if service not in measured.warm]
        warm = [*dict.fromkeys(elsewhere), *measured.warm]
        try:
            self.sources.note_needs(self.lease, {**asdict(measured), "warm": warm})
        except DatabaseUnavailable as error:
            self.log.warning("database.lost", reason=str(error))


def as_row(offered: Offered) -> dict[str, object]:
    """Give an offer as ``SourceStore.offer`` writes it."""
    return {**asdict(offered), "service": offered.service}
