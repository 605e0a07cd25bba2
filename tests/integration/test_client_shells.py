"""Tab completion in real shells, each behind a terminal."""

import os
import pty
import re
import select
import signal
import sys
import time

import pytest

from tests.needs import need
from tests.service import REPOSITORY

SHELLS = {
    "bash": (["bash", "--norc", "--noprofile", "-i"], "source <(tomaat completion bash)"),
    "zsh": (["zsh", "-f", "-i"], "autoload -U compinit; compinit -u -D; source <(tomaat completion zsh)"),
    "fish": (["fish", "--no-config", "-i"], "tomaat completion fish | source"),
}
STYLE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]|\x07")  #: movements and bells too
READY = "ready to complete"


class Shell:
    """A shell that somebody types into."""

    def __init__(self, name, folder, environment):
        command, setup = SHELLS[name]
        self.pid, self.terminal = pty.fork()
        if self.pid == 0:  # pragma: no cover (another program from here on)
            os.chdir(folder)
            os.execvpe(command[0], command, environment)  # noqa: S606 (none is wanted)
        self.shown = ""
        self.type(f"{setup}; echo ready to ''complete\r")
        self.until(READY)

    def type(self, text):
        os.write(self.terminal, text.encode())

    def until(self, text, seconds=60):
        """Read until a text is shown; raises where it is not."""
        deadline = time.monotonic() + seconds
        while text not in (plain := STYLE.sub("", self.shown)):
            assert time.monotonic() < deadline, f"{text!r} is not in {self.shown!r}"
            if select.select([self.terminal], [], [], 0.1)[0]:
                self.shown += os.read(self.terminal, 65536).decode(errors="replace")
        self.shown = plain.partition(text)[2]

    def close(self):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.terminal)


@pytest.fixture(params=SHELLS)
def shell(request, tmp_path, stub):
    if request.param != "bash":
        need(request.param)
    program = tmp_path / "bin" / "tomaat"
    program.parent.mkdir()
    program.write_text(f'#!/bin/sh\nPYTHONPATH={REPOSITORY} exec {sys.executable} -m tomaat.client "$@"\n')
    program.chmod(0o755)
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "my head.nii.gz").touch()
    (tmp_path / "work" / "notes.txt").touch()
    environment = {
        "PATH": f"{program.parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "TERM": "xterm",
        "LANG": "C.UTF-8",
        "COLUMNS": "200",
        "TOMAAT_URL": stub.url,
    }
    made = Shell(request.param, tmp_path / "work", environment)
    yield made
    made.close()


def test_a_tab_completes_commands_services_inputs_choices_and_files(shell, stub):
    shell.type("tomaat sub\t")
    shell.until("tomaat submit ")
    shell.type("Br\t")
    shell.until("Brain ")
    shell.type("sc\t")
    shell.until("scan=")
    shell.type("m\t")
    shell.until("my\\ head.nii.gz ")
    shell.type("fast=t\t")
    shell.until("true ")
    shell.type("\r")
    shell.until("submitted")
    assert len(stub.tickets) == 1
