"""The doctor: looks at everything that the doors need, says what to do, and changes nothing."""

from tomaat.doctor.finding import Finding, ok, warning, wrong

__all__ = ["Finding", "ok", "warning", "wrong"]
