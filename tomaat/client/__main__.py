"""The command line: ``tomaat run BrainExtraction head=head.nii.gz -o out/``, or ``python3 -m tomaat.client run …``."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tomaat.client.cases import cases_of, read_inputs
from tomaat.client.client import DEFAULT_URL, PATIENCE_SECONDS, Client
from tomaat.client.cohort import Cohort, Errand
from tomaat.client.completion import SCRIPTS, complete, remember, remembered
from tomaat.client.display import Display, printable
from tomaat.client.errors import ClientError, NotFound, Refused, Unusable
from tomaat.client.parser import parse
from tomaat.client.place import Place, places_below
from tomaat.client.table import STANDARD_OUTPUT, row_as_json, row_of, rows_below, table_lines, write_csv
from tomaat.client.texts import errand_as_json, own_text_lines, result_lines, service_lines, state_text
from tomaat.client.ticket import ENDED, Ticket

LOCAL_FAULT = 10
INTERRUPTED = 130
COMPLETION_SECONDS = 1.0  #: patience with a server that a tab key asks


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; return the exit code."""
    arguments = sys.argv[1:] if arguments is None else arguments
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    if arguments and arguments[0] == "__complete":
        print(*complete(arguments[1], next(iter(arguments[2:]), None), services_to_complete), sep="\n")
        return 0
    asked = parse(arguments)
    program = Program(asked)
    try:
        return program.do()
    except ClientError as error:
        return program.give_up(error.exit_code, error.problem, error.sentences())
    except BrokenPipeError:  # the reader of the output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return LOCAL_FAULT
    except OSError as error:
        sentence = f"{error.filename}: {error.strerror}." if error.filename else f"{error.strerror or error}."
        return program.give_up(LOCAL_FAULT, {"detail": sentence}, [sentence])
    except KeyboardInterrupt:
        return program.stop()


def services_to_complete(url: str) -> list[dict[str, Any]]:
    """Ask for a server's services, for a tab key: soon, or not at all."""
    try:
        client = Client(url or DEFAULT_URL, patience_seconds=0, timeout_seconds=COMPLETION_SECONDS)
        return remembered(client)
    except ClientError:
        return []


class Program:
    """One command line; each command is a method of its name."""

    def __init__(self, asked: argparse.Namespace) -> None:
        self.asked = asked
        self.json = getattr(asked, "json", False)
        self.display = Display(sys.stderr, quiet=getattr(asked, "quiet", False))
        self.url: str | None = getattr(asked, "url", None)
        self.exit_codes = {0}
        self.table_alone = False  #: on standard output

    def do(self) -> int:
        """Run the command; return the smallest of the exit codes that are not 0."""
        getattr(self, self.asked.command)()
        return min(self.exit_codes - {0}, default=0)

    def client(self, url: str | None = None) -> Client:
        """Make the client of a server: of the one that --url or TOMAAT_URL names, or the one where a ticket is."""

        def at(address: str) -> Client:
            return Client(address, key=key, patience_seconds=patience, on_notice=self.display.note)

        key = read_key(getattr(self.asked, "key_file", None))
        patience = getattr(self.asked, "patience", PATIENCE_SECONDS)
        named = at(self.url or os.environ.get("TOMAAT_URL") or DEFAULT_URL)
        return named if self.url or url in {None, named.url} else at(str(url))

    def completion(self) -> None:
        """Print the script by which a shell completes a command line."""
        print(SCRIPTS[self.asked.shell], end="")

    def services(self) -> None:
        """List the services of the server."""
        client = self.client()
        services = remember(client)
        if self.asked.service is None:
            for service in services:
                self.print(service, service_lines(service))
            return
        service = client.service(self.asked.service)
        self.print(service, service_lines(service) + own_text_lines(service))

    def run(self) -> None:
        """Send, wait and fetch."""
        errands, cohort = self.errands_to_send()
        if self.asked.csv is None or not errands:
            cohort.run(errands)
            return
        self.table_alone = self.asked.csv == STANDARD_OUTPUT
        if not self.table_alone:
            if any(errand.name for errand in errands) and out_of(self.asked) in self.asked.csv.parents:
                self.asked.csv.parent.mkdir(parents=True, exist_ok=True)
            demand_writable(self.asked.csv)
        try:
            cohort.run(errands)
        finally:
            if not self.table_alone:  # a request that was refused removes its folder
                self.asked.csv.parent.mkdir(parents=True, exist_ok=True)
            write_csv([row_of(errand) for errand in errands], self.asked.csv)

    def submit(self) -> None:
        """Send, and do not wait."""
        errands, cohort = self.errands_to_send()
        cohort.submit(errands)

    def errands_to_send(self) -> tuple[list[Errand], Cohort]:
        """Check all requests before any is sent; of a dry run, list them and send none."""
        asked, client = self.asked, self.client()
        service = client.service(asked.service)
        if not service.get("available", True):
            why = service.get("why_unavailable") or "No compute source offers it now."
            self.display.note(f"{asked.service}: {why} The request waits for one.")
        errands = []
        faults: list[dict[str, Any]] = []
        for case in cases_of(read_inputs(asked.inputs), service["interface"]):
            try:
                label = case_label(asked.label, case.name)
                payload = client.prepare(
                    asked.service, case.inputs, format=asked.format, label=label, priority=asked.priority
                )
                errands.append(Errand(case.name, Place(out_of(asked) / case.name), payload))
            except Refused as refusal:
                faults += refusal.errors
        if faults:
            raise Refused("The inputs were refused; nothing was sent.", {"errors": faults})
        cohort = Cohort(
            client,
            self.display,
            self.tell,
            at_once=getattr(asked, "at_once", 1),
            again=asked.again,
            delete=getattr(asked, "delete", False),
        )
        for errand in errands:
            self.say_left_out(errand)
        if asked.dry_run:
            for errand in errands:
                files = {name: str(path) for name, path in errand.payload.files} if errand.payload else {}
                label = errand.payload.label if errand.payload else ""
                plan = {"name": errand.name, "label": label, "folder": str(errand.place.folder), "files": files}
                plan["left_out"] = dict(errand.payload.left_out) if errand.payload else {}
                self.print(plan, [f"{errand.place.folder}: {', '.join(files.values()) or 'no files'}"])
            errands = []
        return errands, cohort

    def say_left_out(self, errand: Errand) -> None:
        """Name the files that are not sent, on standard error, quiet or not: nobody shall miss a slice unheard."""
        remarks = errand.payload.remarks() if errand.payload else []
        if remarks:
            say_wrong(remarks, f"{errand.name}: " if errand.name else "")

    def status(self) -> None:
        """Tell where requests stand."""
        for name, note in self.notes():
            told = {"state": "fetched" if note["fetched"] else "unsent"}
            if note["token"]:
                told = self.ticket(note).status()
            self.tell_status(name, told)

    def fetch(self) -> None:
        """Fetch results."""
        places: dict[str, list[Place]] = {}
        for text in self.asked.tickets:
            for place in [self.place_of(*reference)] if (reference := read_reference(text)) else places_in(text):
                places.setdefault((place.note() or {})["url"], []).append(place)
        for url, there in places.items():
            errands = [Errand(str(place.folder), place) for place in there]
            cohort = Cohort(self.client(url), self.display, self.tell, at_once=len(errands), delete=self.asked.delete)
            if self.asked.wait:
                cohort.run(errands)
            else:
                cohort.fetch(errands)

    def table(self) -> None:
        """Print the table of the results in folders."""
        rows = []
        for folder in self.asked.folders:
            rows += rows_below(existing(folder), lambda told: say_wrong([told]))
        if self.asked.csv is not None:
            write_csv(rows, self.asked.csv)
        elif self.json:
            for row in rows:
                self.print(row_as_json(row), [])
        else:
            self.print({}, table_lines(rows))

    def cancel(self) -> None:
        """Give requests up. Those that have ended keep their results, unless asked otherwise."""
        for name, note in self.notes():
            if not note["token"]:
                self.tell_status(name, {"state": "fetched" if note["fetched"] else "unsent"})
                continue
            ticket = self.ticket(note)
            status = ticket.status()
            if status["state"] not in ENDED:
                status = ticket.cancel()
            elif self.asked.delete:
                ticket.delete()
                status = ticket.status()
            self.tell_status(name, status)

    def notes(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Read the note of each ticket that the command line names."""
        for text in self.asked.tickets:
            reference = read_reference(text)
            if reference is not None:
                id, token = reference
                yield f"ticket {id}", {"url": None, "id": id, "token": token, "fetched": False}
            else:
                yield from ((str(place.folder), place.note() or {}) for place in places_in(text))

    def ticket(self, note: Mapping[str, Any]) -> Ticket:
        """Give the ticket that a note is about."""
        return self.client(note["url"]).ticket(note["id"], note["token"])

    def place_of(self, id: int, token: str) -> Place:
        """Make the folder of a ticket that is given by its id and token."""
        place = Place(self.asked.out or Path(f"ticket-{id}"))
        if place.note() is None:
            place.demand_empty()
            place.keep({**place.begin(self.client().url, "", {}), "id": id, "token": token})
        return place

    def tell(self, errand: Errand) -> None:
        """Tell how an errand ended, or that it is on its way."""
        self.exit_codes.add(errand.exit_code)
        folder = errand.place.folder
        if errand.error is not None:
            say_wrong(errand.error.sentences(), f"{errand.name}: " if errand.name else "")
        lines = [] if errand.result is None else result_lines(errand.result)
        if errand.name and errand.result is not None:
            lines = [f"{folder}{' (was there already)' if errand.skipped else ''}", *(f"  {line}" for line in lines)]
        elif errand.skipped:
            lines = [f"{folder} was there already; --again sends it anew.", *lines]
        elif errand.result is None and errand.error is None:
            lines = [f"{folder}: {errand.state}"]
        self.print(errand_as_json(errand), lines)

    def tell_status(self, name: str, status: Mapping[str, Any]) -> None:
        """Tell a ticket's state; its links hold its token."""
        told = {key: value for key, value in status.items() if key != "links"}
        self.print({"name": name, **told}, [f"{name}: {state_text(status)}"])

    def print(self, told: Mapping[str, Any], lines: Sequence[str]) -> None:
        """Print an object for programs, or lines for people; nothing where a table has standard output."""
        self.display.clear()
        if self.table_alone:
            return
        text = json.dumps(told) if self.json else printable("\n".join(lines))
        if text:
            print(text, flush=True)

    def give_up(self, exit_code: int, problem: Mapping[str, Any], sentences: Sequence[str]) -> int:
        """Print the error that ends the command."""
        self.print({"error": dict(problem), "exit_code": exit_code}, [])
        say_wrong(sentences)
        return exit_code

    def stop(self) -> int:
        """Print how to go on after Ctrl-C."""
        self.display.clear()
        if self.asked.command in {"run", "submit"}:
            out = out_of(self.asked)
            then = f"The same command goes on from here; tomaat cancel {out} gives up the requests under way."
            say_wrong([f"Stopped; the requests that were sent go on at the server. {then}"])
        return INTERRUPTED


def read_key(file: Path | None) -> str:
    """Give the API key: from a file, or from the environment; never from the command line, which all users see."""
    if file is None:
        return os.environ.get("TOMAAT_KEY", "").strip()
    key = file.read_text(encoding="utf-8", errors="replace").strip()
    if not key:
        raise Unusable(f"{file} is empty; write the API key into it.")
    return key


def read_reference(text: str) -> tuple[int, str] | None:
    """Read a ticket's id and token.

    >>> read_reference("42&mH3"), read_reference("out/")
    ((42, 'mH3'), None)
    """
    id, _, token = text.partition("&")
    return (int(id), token) if id.isdecimal() and token else None


def places_in(text: str) -> list[Place]:
    """Find the requests in a folder; raises ``NotFound`` where there are none."""
    places = places_below(Path(text))
    if not places:
        raise NotFound(f"{text}: no request lies there; give a folder that run or submit made, or '<id>&<token>'.")
    return places


def case_label(given: str | None, name: str) -> str | None:
    """Choose the label of a request: as it was given, in a cohort with the case's name; ``None``: its file's name.

    >>> case_label(None, ""), case_label(None, "07/t1"), case_label("knees", "07/t1"), case_label("", "07/t1")
    (None, '07/t1', 'knees 07/t1', '')
    """
    if given is None:
        return name or None
    return f"{given} {name}".strip() if given else ""


def existing(folder: Path) -> Path:
    """Give a folder that is there; raises ``NotFound`` for another one."""
    if not folder.is_dir():
        raise NotFound(f"{folder}: there is no such folder.")
    return folder


def demand_writable(table: Path) -> None:
    """Raise ``OSError`` for a table that cannot be written: now, not after the last result. Leave no empty file."""
    was_there = table.exists()
    table.open("a").close()
    if not was_there:
        table.unlink()


def out_of(asked: argparse.Namespace) -> Path:
    """Give the folder of a command's requests."""
    return asked.out or Path(f"{asked.service}-result")


def say_wrong(sentences: Sequence[str], about: str = "") -> None:
    """Print an error."""
    print(printable("\n".join(f"{about}{sentence}" for sentence in sentences)), file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
