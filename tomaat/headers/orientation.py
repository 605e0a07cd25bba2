"""How a volume's axes lie in the patient, by three letters. Standard library only."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

AXES = {"L": (0, 1), "R": (0, -1), "P": (1, 1), "A": (1, -1), "S": (2, 1), "I": (2, -1)}  #: of LPS, and the sense
LETTERS = {axis_and_sense: letter for letter, axis_and_sense in AXES.items()}


def is_orientation(text: object) -> bool:
    """Tell whether a text has one letter of LR, one of PA and one of SI, in any order.

    >>> is_orientation("SAR"), is_orientation("RAL")
    (True, False)
    """
    return isinstance(text, str) and sorted(AXES[letter][0] if letter in AXES else 3 for letter in text) == [0, 1, 2]


def orientation_of(direction: Sequence[Sequence[float]]) -> str:
    """Name the patient's axes that i, j and k are nearest to; ``direction`` has the axes as columns, in LPS.

    >>> orientation_of(((-1.0, 0.0, 0.0), (0.0, -1.0, 0.0), (0.0, 0.0, 1.0)))
    'RAS'
    """
    nearest = max(itertools.permutations(range(3)), key=lambda rows: sum(abs(direction[rows[n]][n]) for n in range(3)))
    return "".join(LETTERS[row, 1 if direction[row][n] > 0 else -1] for n, row in enumerate(nearest))


def axes_for(wanted: str, now: str) -> tuple[int, int, int]:
    """Tell which axis of a volume that lies as ``now`` says becomes i, j and k where it is turned to ``wanted``.

    >>> axes_for("SAR", "LPS")
    (2, 1, 0)
    """
    axes = [AXES[letter][0] for letter in now]
    i, j, k = (axes.index(AXES[letter][0]) for letter in wanted)
    return i, j, k
