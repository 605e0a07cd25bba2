"""What one small ticket asks of PostgreSQL, and writes into the log, counted in the server's own log."""

from __future__ import annotations

import re
import time
from collections import Counter
from pathlib import Path

from benchmarks.client import from_clients
from benchmarks.instances import instances
from benchmarks.peers.stacks import FLOAT, tasks_in
from tests.service import Service, payload

SOURCES = '{"cpu-0": null, "cpu-1": null}'
LOADS = ((1, 100), (16, 800))  #: clients, and their tickets
SETTLE_SECONDS, IDLE_SECONDS = 3.0, 10.0
MOST_KINDS, LONGEST_KIND = 20, 90
ENTRY = re.compile(r"^\d{4}-\d\d-\d\d [^\n]*?\] ", re.MULTILINE)
STATEMENT = re.compile(r"LOG:  (?:statement|execute [^:]*): (.*)", re.DOTALL)
VALUES = re.compile(r"(?:E?'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b)(?: *, *(?:E?'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b))*")


def statements(scale: float) -> None:
    """Print how many statements of each kind a ticket takes, with one client and with 16, and two idle sources."""
    columns: list[str] = []
    kinds: list[Counter[str]] = []
    with instances() as given:
        given.execute("ALTER ROLE CURRENT_USER SET log_statement = 'all'")
        tasks = tasks_in(given.folder, FLOAT)
        instance = given.start("statements", "FloatComputation", COMPUTE_SOURCES=SOURCES, CUSTOM_TASKS_DIR=str(tasks))
        instance.until(lambda: len(instance.rows("SELECT DISTINCT source FROM offers")) == 2)
        log = given.server.log_file
        data = payload({"f1": 2.5, "f2": 4.0})
        time.sleep(SETTLE_SECONDS)
        before = log.stat().st_size
        time.sleep(IDLE_SECONDS)
        print(f"Idle: {kinds_since(log, before).total() / IDLE_SECONDS:.1f} statements a second.\n")
        for clients, most in LOADS:
            tickets = max(clients, round(most * scale))
            from_clients(instance.url, clients, clients, lambda client: client.ticket("FloatComputation", data))
            before, lines = log.stat().st_size, lines_of(instance)
            seconds = from_clients(
                instance.url, clients, tickets, lambda client: client.ticket("FloatComputation", data)
            )
            kinds.append(Counter({kind: n / tickets for kind, n in kinds_since(log, before).items()}))
            columns.append(
                f"{kinds[-1].total():.1f} ({1000 * seconds / tickets:.1f} ms a ticket, "
                f"{(lines_of(instance) - lines) / tickets:.1f} lines of log)"
            )
    print("| statements of one ticket | one client | 16 clients |\n| --- | --- | --- |")
    print(f"| all | {' | '.join(columns)} |")
    for kind, _ in (kinds[0] + kinds[1]).most_common(MOST_KINDS):
        shown = kind.replace("|", "\\|")
        print(f"| `{shown}` | {kinds[0][kind]:.2f} | {kinds[1][kind]:.2f} |")


def kinds_since(log: Path, offset: int) -> Counter[str]:
    """Count the statements that a server's log holds from an offset on, by their first words, without values."""
    with log.open("rb") as file:
        file.seek(offset)
        said = map(STATEMENT.match, ENTRY.split(file.read().decode(errors="replace")))
    return Counter(" ".join(VALUES.sub("?", each[1]).split())[:LONGEST_KIND] for each in said if each)


def lines_of(instance: Service) -> int:
    """Count the lines in the doors' logs."""
    return sum(instance.log(door).count("\n") for door in instance.doors)
