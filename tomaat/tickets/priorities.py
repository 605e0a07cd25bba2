"""The priorities of tickets, and the number that orders those that wait.

The number holds the rank, the turn and the ticket's id, in this order of weight. So one column, and one index, order a
queue by all three. The manager writes it when it gives a ticket to a queue. Until then it is a small number, of rank 0:
WebService entered the ticket into an empty queue, or the ticket waits for one. Below 0 are those that an operator moved
to the front.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypeAlias

URGENT = "urgent"  #: before all others
NORMAL = "normal"
NIGHT = "night"  #: when nothing else waits, or when it has waited for long

PRIORITIES = (URGENT, NORMAL, NIGHT)
USUAL = (NORMAL, NIGHT)  #: that a key may ask for, unless it is made for others
if TYPE_CHECKING:
    Priority: TypeAlias = str  # a checker reads no names out of a tuple
else:
    Priority = Literal[PRIORITIES]
RANKS = {priority: rank for rank, priority in enumerate(PRIORITIES, start=1)}
LAST_RANK = len(PRIORITIES)

ID_BITS = 18
TURN_BITS = 43  #: of milliseconds, half of them below 0: 139 years
RANK_BITS = ID_BITS + TURN_BITS  #: below the rank
MIDDLE = 1 << (TURN_BITS - 1)


def order_of(rank: int, turn: int, ticket: int) -> int:
    """Make the number of a ticket with a turn in milliseconds.

    >>> order_of(1, 5, 7) < order_of(2, -5, 7) < order_of(2, -5, 8) < order_of(2, -4, 1)
    True
    """
    turn = min(max(turn, -MIDDLE), MIDDLE - 1)
    return (rank << RANK_BITS) + ((turn + MIDDLE) << ID_BITS) + ticket % (1 << ID_BITS)


def rank_of(order: int) -> int:
    """Read the rank out of a number: 1 to ``LAST_RANK``, less where the manager gave no turn.

    >>> rank_of(order_of(3, -9, 4)), rank_of(17), rank_of(-17)
    (3, 0, -1)
    """
    return order >> RANK_BITS


def turn_of(order: int) -> int:
    """Read the turn out of a number.

    >>> turn_of(order_of(3, -9, 4)), turn_of(order_of(1, 10**12, 4))
    (-9, 1000000000000)
    """
    return ((order >> ID_BITS) & ((1 << TURN_BITS) - 1)) - MIDDLE


def without_priority(allowed: tuple[str, ...]) -> str:
    """Choose the priority of a request that names none: normal, where that is allowed.

    >>> without_priority(PRIORITIES), without_priority(("night",)), without_priority(("urgent",))
    ('normal', 'night', 'urgent')
    """
    return next(priority for priority in (NORMAL, NIGHT, URGENT) if priority in allowed)
