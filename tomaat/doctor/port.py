"""Look which program answers where WebService listens; nothing is bound there, so that no door is kept out."""

from __future__ import annotations

import contextlib
import http.client
import json
import socket
from collections.abc import Iterator

from tomaat.doctor.finding import Finding, ok, warning, wrong
from tomaat.processes.proc import lowest_open_port
from TOMAATSettings import ANYWHERE

ABOUT = "port"
CONNECT_SECONDS = 5.0
ANSWER_SECONDS = 15.0  #: a WebService whose database is silent answers after its deadline


def look_at_port(host: str, port: int) -> Iterator[Finding]:
    """Tell whether WebService answers there, could listen there, or cannot."""
    asked = ANYWHERE.get(host, host)
    try:
        socket.create_connection((asked, port), timeout=CONNECT_SECONDS).close()
    except socket.gaierror:
        yield wrong(ABOUT, f"TOMAAT_HOST: {host} is no address", "127.0.0.1, or 0.0.0.0 for all of this machine's")
        return
    except OSError:
        yield from _free(host, port)
        return
    try:
        failing = _health(asked, port)
    except TimeoutError:
        says = f"the program at {host}:{port} did not answer within {ANSWER_SECONDS:g} s"
        mend = "if it is WebService (ss -ltnp), see database and storage here; else set TOMAAT_PORT to another port"
        yield wrong(ABOUT, says, mend)
        return
    if failing is None:
        mend = "end the program that listens there (ss -ltnp), or set TOMAAT_PORT to another port"
        yield wrong(ABOUT, f"another program answers at {host}:{port}", mend)
    elif failing:
        says = f"WebService answers at {host}:{port} and is not ready: {' '.join(failing)}"
        yield wrong(ABOUT, says, "mend the parts that are named; the lines here say more")
    else:
        yield ok(ABOUT, f"WebService answers at {host}:{port}, and is ready")


def _free(host: str, port: int) -> Iterator[Finding]:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.bind((host, 0))  # any port: only the address is tried
    except OSError as error:
        mend = "127.0.0.1 and 0.0.0.0 always are"
        yield wrong(ABOUT, f"TOMAAT_HOST: {host} is no address of this machine ({error.strerror})", mend)
        return
    lowest = lowest_open_port()
    if port < lowest:
        yield wrong(ABOUT, f"{port} is for the administrator only", f"set TOMAAT_PORT to one from {lowest} on")
    else:
        yield warning(ABOUT, f"nobody answers at {host}:{port}; it is free", "start WebService.py, or make serve")


def _health(host: str, port: int) -> list[str] | None:
    """Ask WebService which of its parts fail; ``None`` where it is another program that answers.

    Raises ``TimeoutError`` where nothing is answered.
    """
    try:
        with contextlib.closing(http.client.HTTPConnection(host, port, timeout=ANSWER_SECONDS)) as connection:
            connection.request("GET", "/health/ready")
            answer = json.load(connection.getresponse())
        if answer.get("ready") is True:
            return []
        if answer.get("type") == "/problems/not-serving":
            return [str(error["detail"]) for error in answer["errors"]]
    except TimeoutError:
        raise
    except (OSError, http.client.HTTPException, ValueError, AttributeError, TypeError, KeyError):
        pass
    return None
