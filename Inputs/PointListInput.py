"""Points in the patient."""

from __future__ import annotations

import math
from typing import Any

from Inputs.Input import NO_DEFAULT, Input, InputRefused

SYSTEMS = ("LPS", "RAS")
FARTHEST_MM = 100_000.0
MOST_POINTS = 10_000
COORDINATES = 3


class PointListInput(Input):
    """A list of points ``[x, y, z]`` in mm; ``coordinates`` says which way the axes point.

    ``LPS``: to the patient's left, posterior, superior (ITK, DICOM). ``RAS``: right, anterior, superior (3D Slicer).
    ``perform`` gets a tuple of ``(x, y, z)`` in LPS, whatever the client was asked for.
    """

    type = "pointlist"

    def __init__(
        self,
        id: str,
        name: str,
        *,
        description: str = "",
        required: bool = True,
        default: Any = NO_DEFAULT,
        coordinates: str = "LPS",
        fewest: int = 0,
        most: int = MOST_POINTS,
    ) -> None:
        super().__init__(id, name, description=description, required=required, default=default)
        if coordinates not in SYSTEMS:
            raise ValueError(f"{id}: coordinates are LPS or RAS, not {coordinates!r}")
        self.coordinates = coordinates
        self.fewest = fewest
        self.most = most
        self._check_default()

    def check(self, value: object) -> list[list[float]]:
        """Take a JSON list of lists of three finite numbers."""
        if not isinstance(value, (list, tuple)):
            raise self._refused("not-a-list", value, "is not a list of points [x, y, z]")
        if not self.fewest <= len(value) <= self.most:
            detail = f"{self.id}: {len(value)} points are outside {self.fewest} to {self.most}."
            raise InputRefused("out-of-range", detail)
        return [self._point(point) for point in value]

    def convert(self, value: Any) -> tuple[tuple[float, float, float], ...]:
        """Turn the points into LPS."""
        sign = -1.0 if self.coordinates == "RAS" else 1.0
        return tuple((sign * x, sign * y, z) for x, y, z in value)

    def rules(self) -> dict[str, Any]:
        """Tell axes, unit and how many points."""
        return {"coordinates": self.coordinates, "unit": "mm", "fewest": self.fewest, "most": self.most}

    def _point(self, point: object) -> list[float]:
        if not isinstance(point, (list, tuple)) or len(point) != COORDINATES:
            raise self._refused("not-a-point", point, "is not a point [x, y, z]")
        for number in point:
            if isinstance(number, bool) or not isinstance(number, (int, float)):
                raise self._refused("not-a-point", point, "is not three numbers [x, y, z]")
            if not (isinstance(number, int) or math.isfinite(number)) or abs(number) > FARTHEST_MM:
                raise self._refused("not-a-point", point, f"is not within {FARTHEST_MM:g} mm of the origin")
        return [float(number) for number in point]
