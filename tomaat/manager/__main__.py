"""Show what the manager asks an operator, and agree: ``python3 -m tomaat.manager agree clock``.

``make manager ARGS="agree clock"`` does the same in the private PostgreSQL.
"""

from __future__ import annotations

import argparse
import sys

from sqlalchemy.exc import ProgrammingError

from tomaat.database import DatabaseUnavailable, connect, send_hints
from tomaat.database.connection import first_line, mending, outages_named
from tomaat.processes.log import configure_logging
from tomaat.tickets.question_store import SUBJECTS, Question, QuestionStore
from TOMAATSettings import read_settings


def main() -> int:
    """Do what the command line says; return the exit status."""
    arguments = parse()
    settings = read_settings()
    configure_logging("manager", settings.LOG_FORMAT)
    database = connect(settings.DATABASE_URL, deadline_seconds=settings.database_deadline_seconds)
    questions = QuestionStore(database, lambda hint: send_hints(database, [hint]))
    try:
        with outages_named():
            return run(questions, arguments.what)
    except DatabaseUnavailable as error:
        trouble = f"{error}. {mending(str(error), database.url)}"
    except ProgrammingError as error:
        trouble = f"{first_line(error.orig)}. The door that starts next makes the tables, or brings them up to date."
    print(trouble, file=sys.stderr)
    return 1


def parse() -> argparse.Namespace:
    """Read the command line."""
    description = "Show what the manager asks an operator, and agree."
    parser = argparse.ArgumentParser(prog="python3 -m tomaat.manager", description=description)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("questions", help="list what waits for an operator's word").set_defaults(what=None)
    agree = commands.add_parser("agree", help="agree, once, to what is asked")
    agree.add_argument("what", choices=SUBJECTS, help="clock: it is right; quarantine: put these folders away")
    return parser.parse_args()


def run(questions: QuestionStore, what: str | None) -> int:
    """List the questions, or agree to one."""
    if what is None:
        for question in questions.all():
            print(described(question))
        return 0
    agreed = questions.agree(what)
    if agreed is None:
        print(f"Nothing is asked about the {what}: {', '.join(SUBJECTS)} are looked at when they are.", file=sys.stderr)
        return 1
    print(described(agreed))
    return 0


def described(question: Question) -> str:
    """Write a question in a line."""
    agreed = "" if question.agreed is None else f"; agreed {question.agreed:%Y-%m-%d %H:%M} UTC"
    return f"{question.what}: {question.detail}, asked {question.asked:%Y-%m-%d %H:%M} UTC{agreed}"


if __name__ == "__main__":
    sys.exit(main())
