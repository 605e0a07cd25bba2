"""Offer trained networks that are folders: ``python3 -m tomaat.services add FOLDER``; ``trust`` and ``remove``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from tomaat.launch.own_database import with_database
from tomaat.launch.reload import reload
from tomaat.postgres.private_postgres import PrivatePostgres
from tomaat.services.folders import adding
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.telling import lines_of
from TOMAATSettings import read_settings


def main(arguments: Sequence[str]) -> int:
    """Do what the command line asks, and let a running server know; return the exit status."""
    asked = parse(arguments)
    tasks = read_settings().CUSTOM_TASKS_DIR
    try:
        name = act(asked, tasks)
    except FolderRefused as refused:
        print(refused, file=sys.stderr)
        return 1
    except OSError as error:
        print(f"It cannot be done: {error}", file=sys.stderr)
        return 1
    return 0 if asked.no_reload or not may_run() else with_database(lambda: reload([name], none_runs=0))


def may_run() -> bool:
    """Tell whether a server may run: its private PostgreSQL does, or it has another one."""
    settings = read_settings()
    postgres = PrivatePostgres(settings.BASE_STORAGE_DIR / "postgres")
    return settings.database_given or postgres.url_of_running() is not None


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tomaat.services", description="Networks that are folders.")
    commands = parser.add_subparsers(dest="command", required=True)
    adds = commands.add_parser("add", help="copy a network's folder into the folder of tasks, and offer it")
    adds.add_argument("place", type=Path, metavar="FOLDER", help="of nnU-Net, of MONAI, or with a tomaat.yaml")
    adds.add_argument("--name", help="the service's name; default: the folder's")
    adds.add_argument("--trust", action="store_true", help="let code of the folder run: see docs/folders.md")
    trusts = commands.add_parser("trust", help="let code of a folder run, as the folder is now")
    removes = commands.add_parser("remove", help="delete a network's folder from the folder of tasks")
    for each in (trusts, removes):
        each.add_argument("name", metavar="SERVICE")
    for each in (adds, trusts, removes):
        each.add_argument("--no-reload", action="store_true", help="do not tell a running server")
    return parser.parse_args(arguments)


def act(asked: argparse.Namespace, tasks: Path) -> str:
    """Add, trust or remove, tell it, and give the service's name."""
    name: str = asked.name
    match asked.command:
        case "add":
            task = adding.add(asked.place, tasks, asked.name, trusted=asked.trust)
            print(*lines_of(task), sep="\n")
            return task.task_identifier
        case "trust":
            print(f"{name} is trusted as it is now, SHA-256 {adding.trust_folder(name, tasks)}")
        case _:
            adding.remove(name, tasks)
            print(f"{name} is removed.")
    return name
