"""Leases, compute sources, and the services that they offer."""

from __future__ import annotations

import json
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import sqlalchemy
import structlog

from tomaat.database import RowRefused, run
from tomaat.processes.holder import is_gone, this_process
from tomaat.tickets.actors import COMMAND_LINE
from tomaat.tickets.sql import HELD
from tomaat.tickets.states import QUEUED, RUNNING

log = structlog.get_logger()

ITS_TASKS = "its tasks"  #: are loaded, as long as nothing else is named
MANAGER_LEASE = "manager"  #: the lease of the one QueueManager
#: The lease is still its holder's: the condition on all that a holder writes.
OWN_LEASE = "SELECT FROM leases WHERE name = :name AND holder = :holder AND epoch = :epoch"


@dataclass(frozen=True, kw_only=True)
class Lease:
    """A compute source, or the manager's place, held by one process until it expires."""

    name: str
    holder: str
    epoch: int


@dataclass(frozen=True, kw_only=True)
class LastHolder:
    """What a lease's row says."""

    holder: str
    epoch: int
    expires: datetime
    given_back: bool
    expired_seconds: float  #: ago, by the database's clock; negative: it has not run out


class SourceStore:
    """Takes and renews leases as tickets are claimed: by one UPDATE that tests its conditions."""

    def __init__(self, database: sqlalchemy.Engine, *, lease_seconds: float) -> None:
        self.database = database
        self.lease_seconds = lease_seconds
        self.seen: dict[str, tuple[LastHolder, float]] = {}  #: others' leases, and since when they are as they are

    def take(
        self, name: str, holder: str, *, dead_holder: str | None = None, seen: datetime | None = None
    ) -> Lease | None:
        """Take a lease that is free, has run out, or is still in the name of ``dead_holder``, as it was ``seen``.

        Return ``None`` while another process holds it. A compute source that is taken has to load its tasks anew, so
        what its last holder had loaded counts no longer. Each taking gives a higher epoch, which no other lease has
        had.
        """
        rows = run(
            self.database,
            f"""WITH taken AS (
                 INSERT INTO leases AS l (name, epoch, holder, expires, seconds)
                 VALUES (:name, nextval('lease_epochs'), :holder, clock_timestamp() + make_interval(secs => :seconds),
                   :seconds)
                 ON CONFLICT (name) DO UPDATE SET epoch = excluded.epoch, holder = :holder, expires = excluded.expires,
                   seconds = :seconds
                 WHERE NOT {HELD} OR l.holder = :holder
                   OR (l.holder = :dead_holder AND l.expires = coalesce(CAST(:seen AS timestamptz), l.expires))
                 RETURNING name, epoch
               ), starting AS (
                 UPDATE compute_sources SET loading = :all_tasks, loading_since = clock_timestamp()
                 WHERE name IN (SELECT name FROM taken)
               ) SELECT epoch FROM taken""",
            name=name,
            holder=holder,
            dead_holder=dead_holder,
            seen=seen,
            seconds=self.lease_seconds,
            all_tasks=ITS_TASKS,
        )
        return Lease(name=name, holder=holder, epoch=rows[0].epoch) if rows else None

    def last_holder(self, name: str) -> LastHolder | None:
        """Read what a lease's row says; ``None``: nobody has ever had it."""
        rows = run(
            self.database,
            """SELECT holder, epoch, expires, seconds = 0 AS given_back,
                 CAST(extract(epoch FROM clock_timestamp() - expires) AS double precision) AS expired_seconds
               FROM leases WHERE name = :name""",
            name=name,
        )
        return LastHolder(**rows[0]._asdict()) if rows else None

    def is_silent(self, name: str, last: LastHolder) -> bool:
        """Tell whether a lease was not renewed for its length, by this process's own clock.

        The database's clock is not asked: when it is set, every lease seems to have run out, or to run for ever.
        """
        now = time.monotonic()
        seen, since = self.seen.get(name, (last, now))
        if (seen.epoch, seen.expires) != (last.epoch, last.expires):
            since = now
        self.seen[name] = (last, since)
        return now - since >= self.lease_seconds

    def renew(self, lease: Lease) -> bool:
        """Renew a lease, also one that ran out while nobody took it; ``False`` when another process has it now."""
        rows = run(
            self.database,
            """UPDATE leases SET expires = clock_timestamp() + make_interval(secs => :seconds), seconds = :seconds
               WHERE name = :name AND holder = :holder AND epoch = :epoch RETURNING epoch""",
            name=lease.name,
            holder=lease.holder,
            epoch=lease.epoch,
            seconds=self.lease_seconds,
        )
        return bool(rows)

    def renew_all(self, leases: Collection[Lease]) -> set[str]:
        """Renew several leases in one statement; return the names of those that no other process has now.

        A lease whose row PostgreSQL refuses to change is left as it is, and counts as renewed: nobody has taken it.
        """
        try:
            return self._renew_together(leases)
        except RowRefused:
            return {lease.name for lease in leases if self._renew_or_tell(lease)}

    def _renew_together(self, leases: Collection[Lease]) -> set[str]:
        rows = run(
            self.database,
            """UPDATE leases l SET expires = clock_timestamp() + make_interval(secs => :seconds), seconds = :seconds
               FROM unnest(CAST(:names AS text[]), CAST(:holders AS text[]), CAST(:epochs AS bigint[]))
                 AS own(name, holder, epoch)
               WHERE l.name = own.name AND l.holder = own.holder AND l.epoch = own.epoch RETURNING l.name""",
            names=[lease.name for lease in leases],
            holders=[lease.holder for lease in leases],
            epochs=[lease.epoch for lease in leases],
            seconds=self.lease_seconds,
        )
        return {row.name for row in rows}

    def _renew_or_tell(self, lease: Lease) -> bool:
        try:
            return self.renew(lease)
        except RowRefused as error:
            log.error("source.refused", source=lease.name, reason=str(error))
            return True

    def with_tickets(self, names: Collection[str]) -> set[str]:
        """Tell at which of some sources tickets wait or run."""
        rows = run(
            self.database,
            f"""SELECT name FROM unnest(CAST(:names AS text[])) AS own(name)
                WHERE EXISTS (SELECT FROM tickets WHERE source = own.name AND state = '{QUEUED}')
                   OR EXISTS (SELECT FROM tickets WHERE source = own.name AND state = '{RUNNING}')""",
            names=list(names),
        )
        return {row.name for row in rows}

    def release(self, lease: Lease) -> None:
        """Give a lease back, so that the next holder need not wait."""
        run(
            self.database,
            """UPDATE leases SET expires = clock_timestamp() - interval '1 microsecond', seconds = 0
               WHERE name = :name AND holder = :holder AND epoch = :epoch""",
            name=lease.name,
            holder=lease.holder,
            epoch=lease.epoch,
        )

    def describe(self, lease: Lease, *, device_name: str, memory_bytes: int | None, problem: str | None) -> bool:
        """Write a compute source's device and its problem, if any; ``False`` if another process has the source now.

        A source that is new has to load all its tasks, as one that is taken has.
        """
        rows = run(
            self.database,
            f"""INSERT INTO compute_sources (name, device_name, memory_bytes, problem, loading, loading_since)
               SELECT :name, :device_name, :memory_bytes, :problem, :all_tasks, clock_timestamp()
               WHERE EXISTS ({OWN_LEASE})
               ON CONFLICT (name) DO UPDATE SET device_name = :device_name, memory_bytes = :memory_bytes,
                   problem = :problem
               RETURNING name""",
            name=lease.name,
            holder=lease.holder,
            epoch=lease.epoch,
            device_name=device_name,
            memory_bytes=memory_bytes,
            problem=problem,
            all_tasks=ITS_TASKS,
        )
        return bool(rows)

    def note_worker(self, lease: Lease, lane: int, pid: int, started: int) -> bool:
        """Write which process a lane of the source has, so that the next holder can end one left over.

        ``False`` if another process has the source now: then that worker has to end.
        """
        rows = run(
            self.database,
            f"""INSERT INTO workers (source, lane, pid, started)
                SELECT :name, :lane, :pid, :started WHERE EXISTS ({OWN_LEASE})
                ON CONFLICT (source, lane) DO UPDATE SET pid = excluded.pid, started = excluded.started
                RETURNING source""",
            name=lease.name,
            holder=lease.holder,
            epoch=lease.epoch,
            lane=lane,
            pid=pid,
            started=started,
        )
        return bool(rows)

    def note_reading(
        self,
        lease: Lease,
        *,
        used_bytes: int | None,
        total_bytes: int | None,
        use: float | None,
        celsius: float | None,
    ) -> None:
        """Write the figures of a source's device; ``use`` is from 0 to 1, ``None`` a figure that it does not tell.

        Figures that PostgreSQL refuses are dropped.
        """
        with refusals_dropped("reading.refused", lease):
            self._note_reading(lease, used_bytes=used_bytes, total_bytes=total_bytes, use=use, celsius=celsius)

    def _note_reading(
        self,
        lease: Lease,
        *,
        used_bytes: int | None,
        total_bytes: int | None,
        use: float | None,
        celsius: float | None,
    ) -> None:
        run(
            self.database,
            f"""UPDATE compute_sources SET device_used_bytes = :used_bytes, device_total_bytes = :total_bytes,
                  device_use = :use, device_celsius = :celsius, device_read = clock_timestamp()
                WHERE name = :name AND EXISTS ({OWN_LEASE})""",
            name=lease.name,
            holder=lease.holder,
            epoch=lease.epoch,
            used_bytes=used_bytes,
            total_bytes=total_bytes,
            use=use,
            celsius=celsius,
        )

    def workers_of(self, name: str) -> list[tuple[int, int]]:
        """Tell the process id and start time of the last known worker of each of the source's lanes."""
        rows = run(self.database, "SELECT pid, started FROM workers WHERE source = :name ORDER BY lane", name=name)
        return [(row.pid, row.started) for row in rows]

    def note_lanes(self, lease: Lease, lanes: int) -> None:
        """Write how many tickets the source runs side by side."""
        run(
            self.database,
            f"UPDATE compute_sources SET lanes = :lanes WHERE name = :name AND EXISTS ({OWN_LEASE})",
            name=lease.name,
            holder=lease.holder,
            epoch=lease.epoch,
            lanes=lanes,
        )

    def offer(self, lease: Lease, offers: Collection[Mapping[str, Any]]) -> None:
        """Write offers of a source; those of other services stay.

        Each of ``offers`` has ``service``, ``interface_hash`` and ``offer`` (JSON). It has the measurements
        ``network_bytes``, ``peak_bytes``, ``load_seconds`` and ``warm``, where there are any. An offer that PostgreSQL
        refuses is left out.
        """
        try:
            self._offer(lease, offers)
        except RowRefused:
            self._offer(lease, [offer for offer in offers if self._can_be_stored(offer)])

    def _can_be_stored(self, offer: Mapping[str, Any]) -> bool:
        try:
            run(
                self.database,
                """SELECT CAST(o->'offer' AS jsonb) AS offer, o->>'service' AS service, o->>'interface_hash' AS hash
                   FROM (SELECT CAST(:offer AS json) AS o) told""",
                offer=json.dumps(offer),
            )
        except RowRefused as error:
            log.error("task.refused", reason=f"its offer cannot be stored: {error}")
            return False
        return True

    def _offer(self, lease: Lease, offers: Collection[Mapping[str, Any]]) -> None:
        run(
            self.database,
            f"""INSERT INTO offers
                 (source, service, interface_hash, offer, epoch, network_bytes, peak_bytes, load_seconds, warm)
               SELECT :name, service, interface_hash, offer, :epoch, network_bytes, peak_bytes, load_seconds, warm
               FROM json_to_recordset(CAST(:offers AS json))
                 AS o(service text, interface_hash text, offer json, network_bytes bigint, peak_bytes bigint,
                   load_seconds double precision, warm integer)
               WHERE EXISTS ({OWN_LEASE})
               ON CONFLICT (source, service) DO UPDATE SET interface_hash = excluded.interface_hash,
                   offer = excluded.offer, offered = clock_timestamp(), epoch = excluded.epoch,
                   network_bytes = excluded.network_bytes, peak_bytes = excluded.peak_bytes,
                   load_seconds = excluded.load_seconds, warm = excluded.warm""",
            offers=json.dumps(list(offers)),
            name=lease.name,
            holder=lease.holder,
            epoch=lease.epoch,
        )

    def note_loading(self, lease: Lease, name: str | None, seconds: float) -> None:
        """Write which file or network is loaded now, and for how many seconds already; ``None``: all are."""
        run(
            self.database,
            f"""UPDATE compute_sources SET loading = CAST(:loading AS text),
                  loading_since = clock_timestamp() - make_interval(secs => :seconds)
                WHERE name = :name AND EXISTS ({OWN_LEASE})""",
            name=lease.name,
            holder=lease.holder,
            epoch=lease.epoch,
            loading=name,
            seconds=seconds,
        )

    def withdraw_others(self, lease: Lease, services: Collection[str]) -> None:
        """Withdraw all offers of a source but those of ``services``."""
        run(
            self.database,
            f"DELETE FROM offers WHERE source = :name AND service <> ALL (:services) AND EXISTS ({OWN_LEASE})",
            name=lease.name,
            holder=lease.holder,
            epoch=lease.epoch,
            services=list(services),
        )

    def forget(self, lease: Lease) -> bool:
        """Delete a source, its offers and its measurements; ``False`` if another process has it now.

        The row of its lease stays, so that its epochs never begin again.
        """
        rows = run(
            self.database,
            f"""WITH forgotten AS (
                 DELETE FROM compute_sources WHERE EXISTS ({OWN_LEASE}) AND name = :name RETURNING name
               ), withdrawn AS (DELETE FROM offers WHERE source IN (SELECT name FROM forgotten)),
               unmeasured AS (DELETE FROM durations WHERE source IN (SELECT name FROM forgotten)),
               ended AS (DELETE FROM workers WHERE source IN (SELECT name FROM forgotten)),
               noted AS (INSERT INTO audit (who, what, outcome) SELECT :who, 'forget', name FROM forgotten)
               SELECT name FROM forgotten""",
            name=lease.name,
            holder=lease.holder,
            epoch=lease.epoch,
            who=COMMAND_LINE,
        )
        return bool(rows)

    def offers_of(self, name: str) -> list[dict[str, Any]]:
        """List what workers of a source have offered and measured (bytes, seconds), as ``KnownOffer`` takes it."""
        rows = run(
            self.database,
            """SELECT service, coalesce(offer->>'file', '') AS file, interface_hash, offer->>'version' AS version,
                 network_bytes, peak_bytes, load_seconds
               FROM offers WHERE source = :name ORDER BY service""",
            name=name,
        )
        return [row._asdict() for row in rows]

    def note_needs(self, lease: Lease, needs: Mapping[str, Any]) -> None:
        """Write a worker's measurements of one service, and the services that are ``warm`` now, in order of use.

        Measurements that PostgreSQL refuses are dropped.
        """
        with refusals_dropped("needs.refused", lease):
            self._note_needs(lease, needs)

    def _note_needs(self, lease: Lease, needs: Mapping[str, Any]) -> None:
        run(
            self.database,
            f"""UPDATE offers SET warm = array_position(CAST(:warm AS text[]), service),
                  network_bytes = CASE WHEN service = :service THEN :network_bytes ELSE network_bytes END,
                  peak_bytes = CASE WHEN service = :service THEN :peak_bytes ELSE peak_bytes END,
                  load_seconds = CASE WHEN service = :service THEN :load_seconds ELSE load_seconds END
                WHERE source = :name AND EXISTS ({OWN_LEASE})
                  AND (service = :service OR warm IS DISTINCT FROM array_position(CAST(:warm AS text[]), service))""",
            name=lease.name,
            holder=lease.holder,
            epoch=lease.epoch,
            service=needs["service"],
            network_bytes=needs["network_bytes"],
            peak_bytes=needs["peak_bytes"],
            load_seconds=needs["load_seconds"],
            warm=needs["warm"],
        )


@contextmanager
def refusals_dropped(event: str, lease: Lease) -> Iterator[None]:
    """Log that PostgreSQL refuses figures, which nothing depends on."""
    try:
        yield
    except RowRefused as error:
        log.error(event, source=lease.name, reason=str(error))


def take_lease(sources: SourceStore, name: str) -> Lease | None:
    """Take a lease for this process.

    That is at once where nobody had it, its holder gave it back, or its holder was a process of this machine that is
    gone. Else the holder must have been silent for a lease, by this process's own clock.
    """
    last = sources.last_holder(name)
    if last is None:
        return sources.take(name, this_process())
    if last.given_back or last.holder == this_process() or is_gone(last.holder) or sources.is_silent(name, last):
        return sources.take(name, this_process(), dead_holder=last.holder, seen=last.expires)
    return None
