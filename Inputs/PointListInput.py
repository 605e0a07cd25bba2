"""An input for points in the patient, such as the seeds of a segmentation."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from Inputs.Input import Input
from Inputs.InputRefused import InputRefused
from Inputs.numbers import finite
from tomaat.refusals import shown

COORDINATES = ("LPS", "RAS")
MOST = 10_000  #: points, where a task declares nothing else


class PointListInput(Input):
    """Takes a list of ``fewest`` to ``most`` points ``[x, y, z]`` in mm.

    ``coordinates`` says how a client writes them: ``LPS`` (x to the patient's left, y to posterior, z to superior, as
    DICOM and ITK have them) or ``RAS`` (x to the right, y to anterior, as 3D Slicer shows them). ``perform`` gets
    them always in LPS, as ``Volume`` has its positions: a tuple of ``(x, y, z)`` floats. RAS becomes LPS by negating
    x and y. A ``default`` is written in ``coordinates`` too.

    Raises ``TypeError`` for numbers of points that are not whole, and ``ValueError`` for other coordinates, for numbers
    of points that contradict each other, and for a default that a client could not send.

    >>> PointListInput("seeds", "Seeds", coordinates="RAS").convert([[1.0, 2.0, 3.0]])
    ((-1.0, -2.0, 3.0),)
    """

    type = "pointlist"
    only_described = Input.only_described | {"unit"}

    def __init__(
        self,
        id: str,
        name: str,
        *,
        coordinates: str = "LPS",
        fewest: int = 1,
        most: int = MOST,
        default: Sequence[Sequence[float]] | None = None,
        description: str = "",
        required: bool = True,
    ) -> None:
        super().__init__(id, name, description=description, required=required)
        if coordinates not in COORDINATES:
            raise ValueError(f"{self!r}: coordinates={shown(coordinates)}; write 'LPS' or 'RAS'.")
        for what, number in (("fewest", fewest), ("most", most)):
            if isinstance(number, bool) or not isinstance(number, int):
                raise TypeError(f"{self!r}: {what}={shown(number)}; write a whole number of points.")
        if not 0 <= fewest <= most or most < 1:
            raise ValueError(f"{self!r}: fewest={fewest} and most={most}; write 0 <= fewest <= most and 1 <= most.")
        self.coordinates = coordinates
        self.fewest = fewest
        self.most = most
        if isinstance(default, (list, tuple)):
            default = [list(point) if isinstance(point, tuple) else point for point in default]
        self._set_default(default)

    def describe(self) -> dict[str, Any]:
        """Describe this input as JSON."""
        return super().describe() | {
            "unit": "mm",
            "coordinates": self.coordinates,
            "fewest": self.fewest,
            "most": self.most,
        }

    def check(self, value: object) -> list[list[float]]:
        """Check the number of points, and of each that it is three finite numbers."""
        if not isinstance(value, list):
            raise self.refuse("not-a-point-list", f"{self.shown(value)} is not a list of points [x, y, z].")
        if not self.fewest <= len(value) <= self.most:
            raise self.refuse("number-of-points", f"{len(value)} points are outside {self.fewest} to {self.most}.")
        return [self._check_point(place, point) for place, point in enumerate(value, start=1)]

    def convert(self, value: Any) -> tuple[tuple[float, float, float], ...]:
        """Give checked points in LPS."""
        if self.coordinates == "RAS":
            return tuple((0.0 - x, 0.0 - y, z) for x, y, z in value)  # 0.0 - 0.0 is no negative zero
        return tuple((x, y, z) for x, y, z in value)

    def _check_point(self, place: int, point: object) -> list[float]:
        if not isinstance(point, list) or len(point) != len("xyz"):
            raise self.refuse("not-a-point", f"point {place}, {self.shown(point)}, is not [x, y, z].")
        checked = []
        for axis, value in zip("xyz", point, strict=True):
            try:
                checked.append(finite(value, self.shown(value)))
            except InputRefused as refusal:
                raise self.refuse(refusal.code, f"{axis} of point {place}: {refusal.detail}") from None
        return checked
