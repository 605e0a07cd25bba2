"""Look at the walls that the kernel builds around the reading of strangers' images."""

from __future__ import annotations

from collections.abc import Iterator

from tomaat.doctor.finding import Finding, ok, warning
from tomaat.reader.confine import offered

MENDS = {
    "landlock": "Linux 5.13 or newer, with landlock in the boot parameter lsm=",
    "seccomp": "a kernel with seccomp filters, on x86_64 or aarch64",
}


def look_at_kernel() -> Iterator[Finding]:
    """Tell which walls stand, by trying each in a process of its own."""
    there = offered()
    for wall, mend in MENDS.items():
        if wall not in there:
            yield warning("kernel", f"no {wall} here: images are read within limits of resources only", mend)
    if there:
        yield ok("kernel", f"{' and '.join(there)} confine the reading of images")
