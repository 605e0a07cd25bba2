"""Health and metrics."""

from tomaat.web.watch.health import Health
from tomaat.web.watch.metrics import Metrics

__all__ = ["Health", "Metrics"]
