"""The command line's words."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

from tomaat.client import __version__
from tomaat.client.client import PATIENCE_SECONDS

FORMATS = ("nii.gz", "nrrd", "mha", "seg.nrrd", "dicom-seg")
PRIORITIES = ("urgent", "normal", "night")
SHELLS = ("bash", "zsh", "fish")
AT_ONCE = 8  #: requests of a cohort that are under way together
INPUT = re.compile(r"[A-Za-z][\w.]*=.*", re.ASCII | re.DOTALL)
TICKETS = "folder of a request or of a cohort; or '<id>&<token>', in quotes"


def make_parser() -> argparse.ArgumentParser:
    """Describe all commands and their options."""
    common = argparse.ArgumentParser(add_help=False, argument_default=argparse.SUPPRESS)
    common.add_argument("--url", type=given, help="the server; default: $TOMAAT_URL, else http://127.0.0.1:5000")
    common.add_argument(
        "--key-file", type=given_path, help="file that holds the API key; default: the key in $TOMAAT_KEY"
    )
    common.add_argument(
        "--patience", type=float, metavar="SECONDS", help=f"for a server that is away; default: {PATIENCE_SECONDS:g}"
    )
    common.add_argument("--json", action="store_true", help="print a JSON object for each service, or each request")
    common.add_argument("-q", "--quiet", action="store_true", help="show no progress")
    parser = argparse.ArgumentParser(prog="tomaat", description="Ask a TOMAAT server.", parents=[common])
    parser.add_argument("--version", action="version", version=f"tomaat {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    def command(name: str, help: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=help, description=f"{help[0].upper()}{help[1:]}.", parents=[common])

    services = command("services", "list the server's services, with their inputs")
    services.add_argument("service", nargs="?", metavar="SERVICE", help="only this one")
    for name, help in (
        ("run", "send a request, or one for each file of a cohort; wait; fetch the results"),
        ("submit", "send it, and do not wait"),
    ):
        sending = command(name, help)
        sending.add_argument("service", metavar="SERVICE")
        sending.add_argument("inputs", nargs="*", metavar="ID=VALUE", help="a file, a folder, a pattern, or a value")
        sending.add_argument("-o", "--out", type=given_path, metavar="FOLDER", help="default: SERVICE-result")
        sending.add_argument(
            "--format", type=given, metavar="FORMAT", help=f"of the result's volumes: {', '.join(FORMATS)}"
        )
        sending.add_argument(
            "--label", metavar="TEXT", help="your own name for the ticket; default: the file's name; '': none"
        )
        sending.add_argument(
            "--priority", choices=PRIORITIES, help="that your API key may ask for; default: the server's, mostly normal"
        )
        sending.add_argument(
            "--again", action="store_true", help="replace the files of an earlier request in the folder"
        )
        sending.add_argument("-n", "--dry-run", action="store_true", help="check, list the requests, and send nothing")
        if name == "run":
            sending.add_argument(
                "-j", "--at-once", type=int, default=AT_ONCE, metavar="N", help=f"of a cohort; default: {AT_ONCE}"
            )
            sending.add_argument(
                "--csv", type=given_path, metavar="FILE", help="write a table of the cohort: the ml of each label"
            )
            _add_delete(sending)
    status = command("status", "tell where requests stand")
    fetch = command("fetch", "fetch the results of requests that have ended")
    cancel = command("cancel", "give requests up")
    for following in (status, fetch, cancel):
        following.add_argument("tickets", nargs="+", type=given, metavar="TICKET", help=TICKETS)
    fetch.add_argument(
        "-o", "--out", type=given_path, metavar="FOLDER", help="for a ticket that is given by id and token"
    )
    fetch.add_argument("-w", "--wait", action="store_true", help="wait for their end")
    _add_delete(fetch)
    cancel.add_argument("--delete", action="store_true", help="delete also the files of those that have ended")
    table = command("table", "print a table of the results in folders: the volume in ml of each label")
    table.add_argument("folders", nargs="+", type=given_path, metavar="FOLDER", help="of results, or above them")
    table.add_argument("--csv", type=given_path, metavar="FILE", help="write it as CSV; -: to standard output")
    completion = command("completion", "print a script for the shell's tab completion")
    completion.add_argument("shell", choices=SHELLS)
    return parser


def _add_delete(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--delete", action="store_true", help="once fetched, delete all files of it at the server")


def given(text: str) -> str:
    """Take a text that is not empty, as an unset variable leaves it: an empty path would mean the current folder."""
    if not text:
        raise argparse.ArgumentTypeError("it is empty")
    return text


def given_path(text: str) -> Path:
    """Take a path likewise."""
    return Path(given(text))


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """Read a command line; inputs may also follow options."""
    parser = make_parser()
    asked, rest = parser.parse_known_args(arguments)
    if rest and "inputs" in asked and all(INPUT.fullmatch(text) for text in rest):
        asked.inputs += rest
    elif rest:
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if getattr(asked, "at_once", 1) < 1:
        parser.error("--at-once: give 1 or more")
    return asked
