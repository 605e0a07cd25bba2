"""Dump a database into one file, and restore it in one transaction, by PostgreSQL's own programs."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import IO, cast

import psycopg2.extensions as pg
import sqlalchemy

from tomaat.database.connection import first_line, parameters_of
from tomaat.database.run import run
from tomaat.postgres.binaries import WHEEL, WHEEL_INSTALLS

PROGRAMS = ("pg_dump", "pg_restore", "psql")
CHUNK_BYTES = 1024**2
CONNECT_SECONDS = "10"
SECRETS = ("password", "sslpassword")  #: of a connection's parameters: never on a command line


class ClientFailed(Exception):
    """A program of PostgreSQL's is missing or failed; the message holds no row's content."""


def server_major(database: sqlalchemy.Engine) -> int:
    """Tell the server's major version."""
    return int(run(database, "SHOW server_version_num")[0].server_version_num) // 10_000


def find_clients(*least: int) -> tuple[Path, int]:
    """Find the folder of the oldest programs that are at least as new as all of ``least``, and their version.

    The server's own version is best: newer programs may say what an older server does not understand.
    """
    wanted = max(least)
    found = {major: folder for folder in _folders() if (major := _major(folder)) is not None}
    fitting = [major for major in sorted(found) if major >= wanted]
    if not fitting:
        here = " and ".join(map(str, sorted(found))) or "none"
        raise ClientFailed(
            f"PostgreSQL {wanted} needs pg_dump, pg_restore and psql of version {wanted} or newer, and here is {here}: "
            f"install the Debian package postgresql-client-{wanted}."
        )
    return found[fitting[0]], fitting[0]


def _folders() -> Iterator[Path]:
    """List where programs may lie; of two with one version the later one counts."""
    spec = importlib.util.find_spec(WHEEL)  # finds, does not import: the package's own code must never run
    if spec is not None and spec.submodule_search_locations:
        yield from (Path(spec.submodule_search_locations[0]) / install / "bin" for install in WHEEL_INSTALLS)
    if on_path := shutil.which("pg_dump"):
        yield Path(on_path).resolve().parent
    yield from sorted(Path("/usr/lib/postgresql").glob("*/bin"))


def _major(folder: Path) -> int | None:
    """Run all programs that are needed; ``None`` unless each answers."""
    try:
        answers = [
            subprocess.run([folder / program, "--version"], capture_output=True, text=True, check=True).stdout
            for program in PROGRAMS
        ]
    except (OSError, subprocess.SubprocessError):
        return None
    version = re.search(r"\d+", answers[0].partition(")")[2])
    return int(version.group()) if version else None


def dump(clients: Path, url: str, write: Callable[[bytes], object]) -> None:
    """Hand one moment's whole database to ``write``, in PostgreSQL's custom format; sessions go on beside it."""
    with tempfile.TemporaryFile() as said:
        command, environment = _command(clients / "pg_dump", url, "--format=custom", "--no-owner", "--no-privileges")
        with _process(command, stdout=subprocess.PIPE, stderr=said, env=environment) as process:
            for chunk in _chunks(process.stdout):
                write(chunk)
        if process.returncode:
            raise ClientFailed(f"pg_dump: {_said(said)}")


def load(clients: Path, url: str, dumped: Path, *, before: str, after: Iterable[str]) -> None:
    """Bring a dump back, ``before`` and ``after`` with it, in one transaction: all of it or nothing."""
    with tempfile.TemporaryFile() as said:
        command, environment = _command(clients / "psql", url, "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1")
        only = f"--schema={_schema_in(clients, dumped)}"
        reading = [str(clients / "pg_restore"), "--no-owner", "--no-privileges", only, "--file=-", str(dumped)]
        with (
            contextlib.suppress(BrokenPipeError),  # then the status says that it failed
            _process(reading, stdout=subprocess.PIPE, stderr=said) as reader,
            _process(command, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=said, env=environment) as writer,
            cast("IO[bytes]", writer.stdin) as into,
        ):
            into.write(f"BEGIN;\n{before}\n".encode())
            for chunk in _chunks(reader.stdout):
                into.write(chunk)
            if reader.wait() == 0:  # else the transaction is left to end without its COMMIT
                for text in (*after, "\nCOMMIT;\n"):
                    into.write(text.encode())
        if reader.returncode or writer.returncode:
            raise ClientFailed(f"PostgreSQL could not take the dump, and nothing was changed: {_said(said)}")


def _schema_in(clients: Path, dumped: Path) -> str:
    """Find the schema of our tables; its administrator makes the rest, such as extensions."""
    listed = subprocess.run([clients / "pg_restore", "--list", dumped], capture_output=True, text=True, check=False)
    found = re.search(r" TABLE (\S+) schema_versions ", listed.stdout)
    if found is None:
        raise ClientFailed(f"{dumped} holds no table of ours, and nothing was changed.")
    return found[1]


def _command(program: Path, url: str, *options: str) -> tuple[list[str], dict[str, str]]:
    """Say how to call a program, and its environment: the password is there, not on the command line."""
    parameters = parameters_of(url)
    public = pg.make_dsn(**{name: value for name, value in parameters.items() if name not in SECRETS})
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TOMAAT_")}
    environment |= {"PGCONNECT_TIMEOUT": CONNECT_SECONDS, "LC_ALL": "C"}
    if "password" in parameters:
        environment["PGPASSWORD"] = parameters["password"]
    return [str(program), *options, "--no-password", f"--dbname={public}"], environment


@contextlib.contextmanager
def _process(
    command: list[str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int,
    stderr: IO[bytes],
    env: dict[str, str] | None = None,
) -> Iterator[subprocess.Popen[bytes]]:
    """Run a program beside the block, and end it with the block in any case."""
    with subprocess.Popen(command, stdin=stdin, stdout=stdout, stderr=stderr, env=env) as process:
        try:
            yield process
        except BaseException:
            process.kill()
            raise


def _chunks(stream: IO[bytes] | None) -> Iterator[bytes]:
    while stream is not None and (chunk := stream.read(CHUNK_BYTES)):
        yield chunk


def _said(said: IO[bytes]) -> str:
    """Keep the first line about the error; others may quote a row."""
    said.seek(0)
    lines = said.read().decode(errors="replace").splitlines()
    return first_line(next((line for line in lines if re.search("error|fatal", line, re.IGNORECASE)), "it failed"))
