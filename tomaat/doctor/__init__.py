"""The doctor looks at everything that the doors need, names each fault with its remedy, and changes nothing."""

from tomaat.doctor.finding import Finding, ok, warning, wrong

__all__ = ["Finding", "ok", "warning", "wrong"]
