"""The tutorial, followed word by word in a copy of the repository."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from PIL import Image

from tests.service import free_port

REPOSITORY = Path(__file__).resolve().parents[2]
BLOCK = re.compile(r"```(\w+) ?([^\n]*)\n(.*?)```\n", re.DOTALL)
BLOCKS = BLOCK.findall((REPOSITORY / "docs/tutorial.md").read_text())
READY = "TOMAAT is ready at http://127.0.0.1:5000"


class Reader:
    """Somebody who sits before a fresh checkout, and does what the tutorial says."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = str(free_port())
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("TOMAAT_", "MAKE"))
        }
        self.environment["TOMAAT_PORT"] = self.port
        self.serving: subprocess.Popen[bytes] | None = None

    def save(self, name: str, content: str) -> None:
        (self.folder / name).write_text(content)

    def run(self, commands: str) -> str:
        """Type commands into a terminal, ``make serve`` into one of its own."""
        if commands == "make serve\n":
            return self.serve()
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", commands.replace("127.0.0.1:5000", f"127.0.0.1:{self.port}")],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}"
        return done.stdout

    def serve(self) -> str:
        output = self.folder / "serving"
        with output.open("wb") as file:
            self.serving = subprocess.Popen(
                ["make", "serve"],
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        give_up = time.monotonic() + 300
        while READY.replace("5000", self.port) not in output.read_text():
            assert self.serving.poll() is None, output.read_text()
            assert time.monotonic() < give_up, output.read_text()
            time.sleep(0.1)
        return ""

    def interrupt(self) -> None:
        """Press Ctrl-C in the terminal of ``make serve``."""
        if self.serving is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.serving.pid, signal.SIGINT)
            self.serving.wait(60)


@pytest.fixture
def reader(tmp_path):
    folder = tmp_path / "tomaat"
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    for name in filter(lambda name: (REPOSITORY / name).is_file(), listed.stdout.splitlines()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / name, folder / name)
    (folder / ".venv").symlink_to(sys.prefix)
    (REPOSITORY / ".cache").mkdir(exist_ok=True)
    (folder / ".cache").symlink_to(REPOSITORY / ".cache")
    reader = Reader(folder)
    yield reader
    reader.interrupt()


def is_seen(shown: str, printed: str) -> bool:
    """Tell whether a terminal showed what the tutorial shows, in which … stands for anything."""
    pattern = ".*".join(map(re.escape, shown.split("…")))
    return re.fullmatch(pattern, printed, re.DOTALL) is not None


@pytest.mark.slow
def test_the_tutorial_can_be_followed_word_by_word(reader):
    printed = ""
    for language, name, content in BLOCKS:
        if name:
            reader.save(name, content)
        elif language == "sh":
            printed = reader.run(content)
        else:
            assert language == "text"
            assert is_seen(content, printed), f"the tutorial shows\n{content}\nthe terminal\n{printed}"
    with Image.open(reader.folder / "Stones-result/preview.png") as picture:
        assert picture.size > (100, 100)
    assert {"sh", "python", "text"} == {language for language, _, _ in BLOCKS}
