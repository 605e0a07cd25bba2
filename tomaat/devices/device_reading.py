"""The figures that a compute source's device tells at one moment."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class DeviceReading:
    """Each figure is ``None`` where the device does not tell it."""

    used_bytes: int | None = None
    total_bytes: int | None = None
    use: float | None = None  #: 0 to 1
    celsius: float | None = None
