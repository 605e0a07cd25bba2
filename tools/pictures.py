"""Take the pictures that stand in documents again: ``make pictures``.

A test run leaves them in ``.cache/screenshots``, from the tutorial in a browser; here they are made small, and put
where the documents look for them. Only this changes ``docs/pictures``.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from PIL import Image

REPOSITORY = Path(__file__).resolve().parents[1]
TEST = "tests/acceptance/test_tutorials.py"
SCREENSHOTS = REPOSITORY / ".cache/screenshots"
PICTURES = REPOSITORY / "docs/pictures"
COLOURS = 128


def main() -> int:
    """Run the test that takes them, and keep them; return its exit status."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "0", TEST, "-k", "browser"]
    status = subprocess.run(command, cwd=REPOSITORY, check=False).returncode
    if status == 0:
        for taken in SCREENSHOTS.glob("tutorial-*.png"):
            keep(taken, PICTURES / taken.name.removeprefix("tutorial-"))
    return status


def keep(taken: Path, kept: Path) -> None:
    """Write a picture of few colours, which is a third of the bytes and looks the same."""
    with Image.open(taken) as picture:
        small = picture.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
        small.save(kept, optimize=True)
    print(f"{kept.relative_to(REPOSITORY)}: {kept.stat().st_size:,} bytes")


if __name__ == "__main__":
    sys.exit(main())
