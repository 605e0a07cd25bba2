"""Make, list and revoke API keys: ``python3 -m tomaat.access make radiology --service FloatComputation``.

``make keys ARGS="make radiology"`` does the same in the private PostgreSQL.
"""

from __future__ import annotations

import argparse
import re
import sys

from sqlalchemy.exc import ProgrammingError

from tomaat.access.key_store import ApiKey, KeyExists, KeyStore
from tomaat.database import DatabaseUnavailable, SchemaTooNew, connect, migrate
from tomaat.database.connection import first_line, mending, outages_named
from tomaat.processes.log import configure_logging
from tomaat.processes.private import keep_private
from tomaat.tickets.priorities import PRIORITIES, USUAL
from tomaat.tickets.watch_store import WatchStore
from TOMAATSettings import read_settings

OLDER = "The door that starts next makes the tables, or brings them up to date."
LEAST_WEIGHT, MOST_WEIGHT = 0.01, 100
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def main() -> int:
    """Do what the command line says; return the exit status."""
    arguments = parse()
    settings = read_settings()
    keep_private()
    configure_logging("keys", settings.LOG_FORMAT, settings.LOG_LEVEL)
    database = connect(settings.DATABASE_URL, deadline_seconds=settings.database_deadline_seconds)
    try:
        with outages_named():
            if arguments.command == "make":
                migrate(database)
            return run(arguments, KeyStore(database), WatchStore(database))
    except DatabaseUnavailable as error:
        trouble = f"{error}. {mending(str(error), database.url)}"
    except ProgrammingError as error:
        says = first_line(error.orig)
        trouble = f"{says}. {mending(says, database.url, otherwise=OLDER)}"
    except (KeyExists, SchemaTooNew) as error:
        trouble = str(error)
    print(trouble, file=sys.stderr)
    return 1


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tomaat.access", description="Make, list and revoke API keys.")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="make a key, and print it once")
    make.add_argument("name", type=_name, help="of a person or a group: letters, digits, '.', '_', '-'")
    make.add_argument("--service", action="append", help="a service that it may ask for; may be repeated; default: all")
    make.add_argument("--operator", action="store_true", help="it may see all tickets, and act, at /queues, too")
    _add_turns(make)
    change = commands.add_parser("change", help="change which priorities a key may ask for, or its weight")
    change.add_argument("name", type=_name)
    _add_turns(change)
    commands.add_parser("list", help="list the keys by name")
    revoke = commands.add_parser("revoke", help="end a key, from now on")
    revoke.add_argument("name", type=_name)
    return parser.parse_args()


def run(arguments: argparse.Namespace, keys: KeyStore, watch: WatchStore) -> int:
    """Run one command."""
    if arguments.command == "make":
        key = keys.make(
            arguments.name,
            arguments.service,
            operator=arguments.operator,
            priorities=arguments.priority or USUAL,
            weight=1.0 if arguments.weight is None else arguments.weight,
        )
        print(key)
        sent = f"Clients send it as the header X-API-Key. It is not shown again; {arguments.name} can be revoked."
        print(sent, file=sys.stderr)
        offered = watch.world().services
        for service in sorted(set(arguments.service or ()) - offered.keys()):
            known = ", ".join(offered) or "none yet"
            print(f"Mind: no service {service} was ever offered; those that were: {known}.", file=sys.stderr)
    elif arguments.command == "list":
        for each in keys.all():
            print(described(each))
    elif arguments.command == "change":
        if not keys.change(arguments.name, priorities=arguments.priority, weight=arguments.weight):
            print(f"There is no key {arguments.name} to change.", file=sys.stderr)
            return 1
        print(*(described(each) for each in keys.all() if each.name == arguments.name))
    elif keys.revoke(arguments.name):
        print(f"{arguments.name} is revoked.")
    else:
        print(f"There is no key {arguments.name} to revoke.", file=sys.stderr)
        return 1
    return 0


def described(key: ApiKey) -> str:
    """Describe a key in a line."""
    services = "all services" if key.services is None else ", ".join(key.services)
    ended = "" if key.revoked is None else f", revoked {key.revoked:%Y-%m-%d %H:%M} UTC"
    operates = ", operator" if key.operator else ""
    asks = "" if key.priorities == USUAL else f", {' or '.join(key.priorities)}"
    weighs = "" if key.weight == 1 else f", weight {key.weight:g}"
    return f"{key.name}: {services}{operates}{asks}{weighs}, made {key.created:%Y-%m-%d %H:%M} UTC{ended}"


def _add_turns(parser: argparse.ArgumentParser) -> None:
    usual = " and ".join(USUAL)
    parser.add_argument(
        "--priority",
        action="append",
        choices=PRIORITIES,
        help=f"that it may ask for; may be repeated; default: {usual}",
    )
    parser.add_argument(
        "--weight", type=_weight, help="turns that it has for one of another key, 0.01 to 100; default: 1"
    )


def _weight(text: str) -> float:
    try:
        weight = float(text)
    except ValueError:
        weight = 0.0
    if not LEAST_WEIGHT <= weight <= MOST_WEIGHT:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from {LEAST_WEIGHT} to {MOST_WEIGHT}")
    return weight


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: write letters, digits, '.', '_' and '-', at most 64")
    return text


if __name__ == "__main__":
    sys.exit(main())
