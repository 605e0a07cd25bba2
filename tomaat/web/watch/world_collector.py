"""The state of the service as gauges, read from the database when Prometheus asks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from tomaat import __version__
from tomaat.database import DatabaseUnavailable, RowRefused
from tomaat.storage import Storage
from tomaat.tickets.states import UNENDED
from tomaat.tickets.watch_store import SourceNow, WatchStore, World
from tomaat.web.http.recent import Recent

RECENT_SECONDS = 1.0
OF_SOURCES: dict[str, tuple[str, Callable[[SourceNow], float | None]]] = {
    "tomaat_source_held": ("Whether a TaskScheduling holds the compute source.", lambda now: now.held),
    "tomaat_source_usable": ("Whether it takes tickets now.", lambda now: now.usable),
    "tomaat_source_drained": ("Whether an operator wants it to claim nothing more.", lambda now: now.drained),
    "tomaat_source_lanes": ("Tickets that it runs side by side.", lambda now: now.lanes),
    "tomaat_queue_tickets": ("Tickets in the compute source's queue.", lambda now: now.waiting),
    "tomaat_queue_seconds": ("Expected, until a ticket queued now would be started.", lambda now: now.wait_seconds),
    "tomaat_device_memory_used_bytes": (
        "The memory of the device that is in use, by any program.",
        lambda now: now.used_bytes,
    ),
    "tomaat_device_memory_total_bytes": ("The device's memory.", lambda now: now.total_bytes),
    "tomaat_device_use_ratio": ("How busy the device is, 0 to 1.", lambda now: now.use),
    "tomaat_device_celsius": ("The device's temperature.", lambda now: now.celsius),
    "tomaat_device_read_age_seconds": ("Since the device's figures were read.", lambda now: now.read_seconds),
}  #: shown of each compute source; ``None``: not known


class WorldCollector(Collector):
    """Reads the database at most once a second; while it is away, one gauge says so."""

    def __init__(self, store: WatchStore, storage: Storage) -> None:
        self.store = store
        self.storage = storage
        self.recent = Recent(self._read, seconds=RECENT_SECONDS)

    def services(self) -> list[str]:
        """Name the services that were ever offered; none while the database is away."""
        world = self.recent.get()
        return [] if world is None else list(world.services)

    def describe(self) -> list[Metric]:
        """Name no gauge beforehand: the registry need not read the database for that."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Give all gauges."""
        build = GaugeMetricFamily("tomaat_build_info", "The program's version.", labels=["version"])
        build.add_metric([__version__], 1)
        yield build
        yield from self._of_storage()
        world = self.recent.get()
        yield GaugeMetricFamily("tomaat_database_up", "Whether the database answers.", value=world is not None)
        if world is not None:
            yield GaugeMetricFamily("tomaat_manager_held", "Whether a QueueManager is alive.", value=world.manager_held)
            yield from self._of_services(world)
            yield from self._of_sources(world)

    def _read(self) -> World | None:
        """Read the state of the service; a silent database is waited for once a second at most."""
        try:
            return self.store.world()
        except (DatabaseUnavailable, RowRefused):
            return None

    def _of_storage(self) -> Iterator[Metric]:
        try:
            disk = os.statvfs(self.storage.base)
        except OSError:
            return
        yield GaugeMetricFamily(
            "tomaat_storage_free_bytes", "Free for tickets' files.", value=disk.f_bavail * disk.f_frsize
        )
        yield GaugeMetricFamily("tomaat_storage_size_bytes", "The storage's disk.", value=disk.f_blocks * disk.f_frsize)
        yield GaugeMetricFamily("tomaat_storage_free_inodes", "Free for tickets' files.", value=disk.f_favail)

    @staticmethod
    def _of_services(world: World) -> Iterator[Metric]:
        available = GaugeMetricFamily(
            "tomaat_service_available", "Whether a compute source that takes tickets offers it.", labels=["service"]
        )
        tickets = GaugeMetricFamily(
            "tomaat_tickets", "Tickets that have not ended, by their state.", labels=["service", "state"]
        )
        oldest = GaugeMetricFamily(
            "tomaat_oldest_ticket_seconds",
            "Since the oldest ticket of this state was submitted; 0 where there is none.",
            labels=["service", "state"],
        )
        known = {(each.service, each.state): each for each in world.unended}
        for service in sorted({*world.services, *(each.service for each in world.unended)}):
            available.add_metric([service], world.services.get(service, False))
            for state in sorted(UNENDED):
                each = known.get((service, state))
                tickets.add_metric([service, state], 0 if each is None else each.tickets)
                oldest.add_metric([service, state], 0 if each is None else each.oldest_seconds)
        yield from (available, tickets, oldest)

    @staticmethod
    def _of_sources(world: World) -> Iterator[Metric]:
        for name, (meaning, figure) in OF_SOURCES.items():
            gauge = GaugeMetricFamily(name, meaning, labels=["source"])
            for source in world.sources:
                value = figure(source)
                if value is not None:
                    gauge.add_metric([source.name], value)
            yield gauge
