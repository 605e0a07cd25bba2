"""The tutorials, one for each kind of person, followed word by word in a copy of the repository."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from playwright.sync_api import Page, expect

from tests.browser import Visitor, picture
from tests.needs import need
from tests.service import REPOSITORY, free_port
from tomaat.postgres.private_postgres import PrivatePostgres

BLOCK = re.compile(r"```(\w+) ?([^\n]*)\n(.*?)```\n", re.DOTALL)
SERVE = re.compile(r"((?:\w+=\S+ )*make serve)\n\Z")
STOP = re.compile(r"\b[Ss]top\b[^.]*Ctrl-C")
READY = "TOMAAT is ready at http://127.0.0.1:5000"
#: What a shell is told around each block: the terminal stays the same one.
BEFORE = "source ./.shell 2>/dev/null\nset -euo pipefail"
AFTER = "{ declare -f; export -p; } > .shell"
#: What the tutorial in a browser says with its bold words, its code and its pictures, and the verb before them.
SAYING = re.compile(
    r"\b([Pp]ress|[Ss]ee|[Oo]pen|[Cc]hoose)\b|\*\*(.+?)\*\*|`([^`]+)`|!\[[^]]*\]\(pictures/(.+?)\.png\)"
)


class Reader:
    """Somebody who sits before a fresh checkout, and does what a tutorial says."""

    def __init__(self, folder: Path, demonstrated: "Reader | None" = None) -> None:
        self.folder = folder
        self.demonstrated = demonstrated
        self.port = str(free_port())
        self.environment = {
            name: value for name, value in os.environ.items() if not name.startswith(("TOMAAT_", "MAKE"))
        }
        # the client's default, as it is on a machine on which this port is free
        self.environment |= {"TOMAAT_PORT": self.port, "TOMAAT_URL": self.here("http://127.0.0.1:5000")}
        self.environment["TOMAAT_SPARE_WORKER"] = "false"  # its imports cost more than all else at the start
        self.serving: subprocess.Popen[bytes] | None = None
        need("git")
        listed = subprocess.run(
            ["git", "ls-files", "-co", "--exclude-standard"], cwd=REPOSITORY, capture_output=True, text=True, check=True
        )
        for name in filter(lambda name: (REPOSITORY / name).is_file(), listed.stdout.splitlines()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
        (folder / ".venv").symlink_to(sys.prefix)
        (REPOSITORY / ".cache").mkdir(exist_ok=True)
        (folder / ".cache").symlink_to(REPOSITORY / ".cache")

    def here(self, text: str) -> str:
        """Put the port of this test in the place of the usual one."""
        return text.replace("127.0.0.1:5000", f"127.0.0.1:{self.port}")

    def follow(self, tutorial: str) -> Iterator[str]:
        """Do what each block says, and hold what it prints against what the next one shows; yield the prose between."""
        text = (REPOSITORY / "docs" / tutorial).read_text()
        printed, end = "", 0
        for block in BLOCK.finditer(text):
            yield self.read(text[end : block.start()])
            end = block.end()
            language, name, content = block.groups()
            if name:
                (self.folder / name).write_text(self.here(content))
            elif language == "sh":
                printed = self.type(content)
            else:
                assert language == "text"
                assert is_seen(self.here(content), printed), f"{tutorial} shows\n{content}\nthe terminal\n{printed}"
        yield self.read(text[end:])

    def read(self, prose: str) -> str:
        if STOP.search(prose):
            self.interrupt()
        return prose

    def type(self, commands: str) -> str:
        """Type commands into a terminal, ``make serve`` into one of its own."""
        serve = SERVE.search(commands)
        printed = ""
        for part in (commands[: serve.start()] if serve else commands).partition("make demo\n"):
            if part == "make demo\n" and self.demonstrated:
                subprocess.run(["cp", "-a", self.demonstrated.folder / "storage", self.folder], check=True)
                printed += (self.demonstrated.folder / "printed").read_text()
            elif part:
                printed += self.run(part)
        if serve:
            self.serve(serve.group(1))
        return printed

    def run(self, commands: str) -> str:
        """Run commands in a shell that knows what earlier ones exported, and their functions."""
        done = subprocess.run(
            ["bash", "-c", f"{BEFORE}\n{self.here(commands)}\n{AFTER}"],
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

    def serve(self, command: str) -> None:
        self.interrupt()
        output = self.folder / "serving"
        with output.open("wb") as file:
            self.serving = subprocess.Popen(
                ["bash", "-c", f"exec env {command}"],
                cwd=self.folder,
                env=self.environment,
                stdout=file,
                stderr=file,
                start_new_session=True,
            )
        give_up = time.monotonic() + 300
        while self.here(READY) not in output.read_text():
            assert self.serving.poll() is None, output.read_text()
            assert time.monotonic() < give_up, output.read_text()
            time.sleep(0.1)

    def interrupt(self) -> None:
        """Press Ctrl-C in the terminal of ``make serve``."""
        if self.serving is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.serving.pid, signal.SIGINT)
            self.serving.wait(60)
            self.serving = None


@pytest.fixture(scope="module")
def demonstrated(tmp_path_factory):
    """Somebody who has typed ``make demo``: it takes a minute, and does the same in each tutorial."""
    reader = Reader(tmp_path_factory.mktemp("demo") / "tomaat")
    (reader.folder / "printed").write_text(reader.type("make demo\n"))
    yield reader
    PrivatePostgres(reader.folder / "storage/postgres").remove()


@pytest.fixture
def reader(tmp_path, demonstrated):
    reader = Reader(tmp_path / "tomaat", demonstrated)
    yield reader
    reader.interrupt()
    if (restored := reader.folder / "restored/postgres").exists():  # its data may lie elsewhere
        PrivatePostgres(restored).remove()


def is_seen(shown: str, printed: str) -> bool:
    """Tell whether a terminal showed what a tutorial shows, in which … stands for anything."""
    pattern = ".*".join(map(re.escape, shown.split("…")))
    return re.fullmatch(pattern, printed, re.DOTALL) is not None


@pytest.mark.slow
@pytest.mark.parametrize(
    "tutorial",
    [
        "tutorial.md",
        "tutorial-folder.md",
        "first-terminal.md",
        pytest.param("first-script.md", marks=pytest.mark.thorough),
        "first-operator.md",
    ],
)
def test_a_tutorial_can_be_followed_word_by_word(reader, tutorial):
    for _ in reader.follow(tutorial):
        pass
    if tutorial == "tutorial.md":
        with Image.open(reader.folder / "Stones-result/preview.png") as preview:
            assert preview.size > (100, 100)


@pytest.mark.slow
def test_the_tutorial_in_a_browser_can_be_followed_word_by_word(reader, browser):
    visitor = Visitor(browser, reader.here("http://127.0.0.1:5000"), width=1060)
    page = visitor.context.new_page()
    for prose in reader.follow("first-browser.md"):
        do_as_said(page, reader, prose)
    visitor.close()


def do_as_said(page: Page, reader: Reader, prose: str) -> None:
    """Press what is bold after "press", look for what is bold after "see", and choose files for what is bold after."""
    verb, file = "", ""
    for said, bold, code, shot in SAYING.findall(prose):
        verb = said.lower() or verb
        if shot:
            for viewer in page.locator(".viewer").all():
                expect(viewer).to_have_attribute("data-state", "ready")
            picture(page, f"tutorial-{shot}")
        elif code and verb == "open":
            page.goto(reader.here(code))
        elif code and verb == "choose":
            file = code
        elif bold and verb == "choose":
            page.get_by_label(bold).set_input_files(reader.folder / file)
        elif bold and verb == "press":
            press(page, bold)
        elif bold and verb == "see":
            expect(page.get_by_text(bold).locator("visible=true").first).to_be_visible()


def press(page: Page, name: str) -> None:
    page.on("dialog", lambda dialog: dialog.accept())
    rest = r" \(.*" if name == "Download" else ""  # its size
    thing = page.locator("button, a, label").filter(has_text=re.compile(rf"^\W*{re.escape(name)}{rest}$"))
    if name != "Download":
        thing.first.click()
        return
    with page.expect_download() as download:
        thing.first.click()
    with tarfile.open(download.value.path()) as archive:
        assert archive.getnames() == ["brain.nii.gz", "preview.png", "result.json"]
