"""Know when all bytes of a result were sent, in however many answers."""

from __future__ import annotations

Span = tuple[int, int]  #: first byte, and the one behind the last

MOST_TICKETS = 1000  #: remembered, of those that were fetched in part; the oldest is forgotten
MOST_SPANS = 100  #: remembered of one ticket


class SentSpans:
    """Remembers which bytes of a result were sent, until all were; one thread asks.

    What is forgotten, by a restart too, only lets files lie longer: they go when their retention is over.
    """

    def __init__(self) -> None:
        self.spans: dict[int, list[Span]] = {}

    def complete(self, ticket: int, first: int, end: int, size: int) -> bool:
        """Note a span that was sent of a ticket's result; tell whether all ``size`` bytes were sent by now.

        >>> spans = SentSpans()
        >>> spans.complete(7, 60, 100, 100), spans.complete(7, 0, 50, 100), spans.complete(7, 40, 60, 100)
        (False, False, True)
        """
        spans: list[Span] = []
        for one in sorted([*self.spans.pop(ticket, []), (first, end)]):
            if spans and one[0] <= spans[-1][1]:
                spans[-1] = spans[-1][0], max(one[1], spans[-1][1])
            else:
                spans.append(one)
        if spans == [(0, size)]:
            return True
        self.spans[ticket] = spans[:MOST_SPANS]
        if len(self.spans) > MOST_TICKETS:
            del self.spans[next(iter(self.spans))]
        return False
