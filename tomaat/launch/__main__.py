"""The server's one program, ``tomaat-server``; the make targets call it as ``python -m tomaat.launch``.

Each command imports only its own modules, so that ``doctor`` runs where packages are missing.
"""

from __future__ import annotations

import argparse
import importlib
import sys
from collections.abc import Sequence

DOORS = {"webservice": "WebService", "queuemanager": "QueueManager", "taskscheduling": "TaskScheduling"}
PROGRAMS = {"keys": "tomaat.access.__main__", "manager": "tomaat.manager.__main__", "sources": "tomaat.launch.sources"}
COMMANDS = {
    "serve": "run PostgreSQL and the three doors until Ctrl-C",
    "keys": "make, list and revoke API keys",
    "manager": "list what the manager asks an operator, and agree",
    "sources": "list the compute sources, and forget one that is gone for good",
    "backup": "make, verify and restore backups",
    "doctor": "say what is wrong with the set-up, and what to do; nothing is changed",
    "reload": "let the running server load changed tasks",
    "add": "offer a trained network that is a folder",
    "trust": "let code of such a folder run, as the folder is now",
    "remove": "delete such a folder from the folder of tasks",
    "try": "run one task on your own files, without a server",
    **{command: f"run {door} alone, with the database of TOMAAT_DATABASE_URL" for command, door in DOORS.items()},
}


def main() -> int:
    """Run the command that the command line names, with the words after it; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="tomaat-server",
        description="Offers a lab's networks for CT and MRI volumes over HTTP.",
        epilog="\n".join(f"  {command:15} {help}" for command, help in COMMANDS.items()),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=COMMANDS, metavar="COMMAND", help="one of those below")
    parser.add_argument("words", nargs=argparse.REMAINDER, metavar="...", help="COMMAND --help tells its own")
    arguments = parser.parse_args()
    sys.argv = [f"tomaat-server {arguments.command}", *arguments.words]
    return run(arguments.command, arguments.words)


def run(command: str, words: Sequence[str]) -> int:
    """Run one command."""
    match command:
        case "serve":
            return int(importlib.import_module("tomaat.launch.serve").main())
        case "try" | "reload" | "add" | "trust" | "remove":
            return int(importlib.import_module("tomaat.services.__main__").main([command, *words]))
        case "keys" | "manager" | "sources":
            return _with_database(PROGRAMS[command])
        case "backup":
            backup = importlib.import_module("tomaat.backup.__main__")
            return int(backup.main()) if backup.parse(None).command == "verify" else _with_database(backup.__name__)
        case "doctor":
            return _examine(words)
        case door:
            return int(importlib.import_module(DOORS[door]).main())


def _with_database(program: str) -> int:
    from tomaat.launch.own_database import with_database  # noqa: PLC0415 (as the module says)

    return with_database(importlib.import_module(program).main)


def _examine(words: Sequence[str]) -> int:
    try:
        from tomaat.launch.own_database import examine_with_database  # noqa: PLC0415 (as the module says)
    except ImportError:  # a package is missing: the doctor names it
        return int(importlib.import_module("tomaat.doctor.__main__").main(words))
    return examine_with_database(words)


if __name__ == "__main__":
    sys.exit(main())
