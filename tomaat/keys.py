"""Make, list and revoke API keys: ``python3 -m tomaat.keys make radiology --service FloatComputation``.

``make keys ARGS="make radiology"`` does the same in the private PostgreSQL.
"""

from __future__ import annotations

import argparse
import re
import sys

from tomaat.database import DatabaseUnavailable, connect, migrate
from tomaat.log import configure_logging
from tomaat.tickets.KeyStore import ApiKey, KeyExists, KeyStore
from TOMAATSettings import read_settings

NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def main() -> int:
    """Do what the command line says; return the exit status."""
    arguments = parse()
    settings = read_settings()
    configure_logging("keys", settings.LOG_FORMAT)
    engine = connect(settings.DATABASE_URL, deadline_seconds=settings.database_deadline_seconds)
    try:
        migrate(engine)
        return run(arguments, KeyStore(engine))
    except (DatabaseUnavailable, KeyExists) as error:
        print(error, file=sys.stderr)
        return 1


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python3 -m tomaat.keys", description="Who may submit.")
    commands = parser.add_subparsers(dest="command", required=True)
    make = commands.add_parser("make", help="make a key, and print it once")
    make.add_argument("name", type=_name, help="of a person or a group: letters, digits, '.', '_', '-'")
    make.add_argument("--service", action="append", help="a service that it may ask for; may be repeated; default: all")
    make.add_argument("--operator", action="store_true", help="it may see all tickets, and act, at /queues, too")
    commands.add_parser("list", help="list the keys by name")
    revoke = commands.add_parser("revoke", help="end a key, from now on")
    revoke.add_argument("name", type=_name)
    return parser.parse_args()


def run(arguments: argparse.Namespace, keys: KeyStore) -> int:
    """Run one command."""
    if arguments.command == "make":
        key = keys.make(arguments.name, arguments.service, operator=arguments.operator)
        print(key)
        print(f"Clients send it as the header X-API-Key. It is not shown again; {arguments.name} can be revoked.")
    elif arguments.command == "list":
        for each in keys.all():
            print(described(each))
    elif not keys.revoke(arguments.name):
        print(f"There is no key {arguments.name} to revoke.", file=sys.stderr)
        return 1
    return 0


def described(key: ApiKey) -> str:
    """Describe a key in a line."""
    services = "all services" if key.services is None else ", ".join(key.services)
    ended = "" if key.revoked is None else f", revoked {key.revoked:%Y-%m-%d %H:%M} UTC"
    operates = ", operator" if key.operator else ""
    return f"{key.name}: {services}{operates}, made {key.created:%Y-%m-%d %H:%M} UTC{ended}"


def _name(text: str) -> str:
    if not NAME.fullmatch(text):
        raise argparse.ArgumentTypeError(f"{text!r}: write letters, digits, '.', '_' and '-', at most 64")
    return text


if __name__ == "__main__":
    sys.exit(main())
