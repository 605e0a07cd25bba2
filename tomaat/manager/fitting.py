"""Leave out the sources whose memory is too small for a service, by measurements.

Pure code: no SQL, no clock. Only a measurement makes a source too small. A ticket that ends well counts at most as the
memory of its source. So a source is left out by measurements of other sources while it has none of its own, or after
its own memory was made smaller.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tomaat.tickets.queue import Misfit, Queue

Service = tuple[str, str]  #: name and interface hash


def needed_bytes(service: Service, queue: Queue, queues: Sequence[Queue]) -> int | None:
    """Tell the memory that a service needs on a source: measured there, else the least on others of its kind."""
    name, _ = service
    own = queue.needs.get(name)
    if own is not None and own.peak_bytes is not None:
        return own.most_bytes
    known = [
        need.most_bytes
        for other in queues
        if other.on_cpu == queue.on_cpu and service in other.offers
        for need in [other.needs.get(name)]
        if need is not None and need.peak_bytes is not None
    ]
    return min(known) if known else None


def fitting(queues: Sequence[Queue]) -> list[Queue]:
    """Return the queues, each without the offers that its source is too small for."""

    def fits(service: Service, queue: Queue) -> bool:
        needed = needed_bytes(service, queue, queues)
        return needed is None or queue.memory_bytes is None or needed <= queue.memory_bytes

    return [
        replace(queue, offers=frozenset(service for service in queue.offers if fits(service, queue)))
        for queue in queues
    ]


def unfit(queues: Sequence[Queue]) -> list[tuple[str, str]]:
    """List the sources with the hashes of the interfaces that they offer and are too small for."""
    return [
        (queue.source, interface_hash)
        for queue, fit in zip(queues, fitting(queues), strict=True)
        for _, interface_hash in queue.offers - fit.offers
    ]


def misfits(queues: Sequence[Queue]) -> list[Misfit]:
    """List the services that fit on none of their sources; ``queues`` holds also sources that are away."""
    fit = {service for queue in fitting(queues) for service in queue.offers}
    found = []
    for service in sorted({service for queue in queues for service in queue.offers} - fit):
        offering = [queue for queue in queues if service in queue.offers]
        found.append(
            Misfit(
                service=service[0],
                interface_hash=service[1],
                needed_bytes=min(needed_bytes(service, queue, queues) or 0 for queue in offering),
                largest_bytes=max(queue.memory_bytes or 0 for queue in offering),
            )
        )
    return found
