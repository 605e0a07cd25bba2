"""Make files durable."""

from __future__ import annotations

import os
from pathlib import Path


def flush(path: Path) -> None:
    """Make one file or folder durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def flush_tree(top: Path) -> None:
    """Make a folder durable with all that it holds, files first."""
    for folder, _, names in os.walk(top, topdown=False):
        for name in names:
            flush(Path(folder, name))
        flush(Path(folder))
