"""Look at the settings, one by one and beside each other."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tomaat.doctor.finding import Finding, ok, warning, wrong
from TOMAATSettings import Settings

ABOUT = "settings"


def look_at_faults(faults: Sequence[str]) -> Iterator[Finding]:
    """Tell the settings that the doors would refuse."""
    for fault in faults:
        yield wrong(ABOUT, fault, "set it right, or unset it; the README's table lists all settings")
    if not faults:
        yield ok(ABOUT, "each is one, and within its bounds")


def look_at_times(settings: Settings) -> Iterator[Finding]:
    """Tell which time-outs do not go together."""
    about = "time-outs"
    odd = []
    if settings.database_deadline_seconds < settings.DATABASE_DEADLINE_SECONDS:
        odd.append(
            (
                f"a statement has {settings.database_deadline_seconds:g} s, 0.4 of TOMAAT_LEASE_SECONDS",
                f"TOMAAT_LEASE_SECONDS={2.5 * settings.DATABASE_DEADLINE_SECONDS:g} would give it all of "
                "TOMAAT_DATABASE_DEADLINE_SECONDS",
            )
        )
    if settings.POLL_SECONDS > settings.LEASE_SECONDS / 2:
        odd.append(
            (
                f"each loop looks every {settings.POLL_SECONDS:g} s, and a lease lasts {settings.LEASE_SECONDS:g} s",
                "let TOMAAT_POLL_SECONDS be far below TOMAAT_LEASE_SECONDS",
            )
        )
    if settings.STORAGE_STRATEGY != "KEEP_ALL" and settings.FETCHED_GRACE_SECONDS > settings.RETENTION_HOURS * 3600:
        odd.append(
            (
                "results are deleted by TOMAAT_RETENTION_HOURS before their TOMAAT_FETCHED_GRACE_SECONDS are over",
                "shorten the latter",
            )
        )
    if settings.LARGEST_UNPACKED_BYTES < settings.LARGEST_UPLOAD_BYTES:
        odd.append(("a payload may be larger packed than unpacked", "raise TOMAAT_LARGEST_UNPACKED_BYTES"))
    for says, mend in odd:
        yield warning(about, says, mend)
    if not odd:
        yield ok(
            about, f"leases of {settings.LEASE_SECONDS:g} s, statements of {settings.database_deadline_seconds:g} s"
        )
