"""The doctor: looks at everything that the doors need, says what to do, and changes nothing."""

from tomaat.doctor.Finding import Finding, ok, problem, warning

__all__ = ["Finding", "ok", "problem", "warning"]
