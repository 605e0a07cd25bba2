"""Health and metrics."""

from tomaat.web.watch.health import Health
from tomaat.web.watch.metrics import LOOK_SECONDS, Metrics

__all__ = ["LOOK_SECONDS", "Health", "Metrics"]
