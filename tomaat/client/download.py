"""Fetch a result: a broken download goes on where it broke, also in another process, and its SHA-256 is checked."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Callable

import requests

from tomaat.client.errors import Damaged, Unreachable
from tomaat.client.http_api import BROKEN, Http
from tomaat.client.payload import digest_of
from tomaat.client.troubles import reason_of

CHUNK_BYTES = 16 * 1024  #: of a chunk that breaks, requests keeps nothing
ETAG = re.compile(r'(?:W/)?"([0-9a-f]{64})"')
CONTENT_RANGE = re.compile(r"bytes (\d+)-")
MOST_DAMAGED = 2  #: downloads, before it is no accident
PARTIAL, BEYOND = 206, 416
PARTS = ".tomaat-*.part"

OnBytes = Callable[[int, int], object]


def download(http: Http, path: str, token: str, folder: Path, on_bytes: OnBytes) -> Path:
    """Fetch the archive at ``path`` into ``folder``; return the file, whose SHA-256 is the one of the server's ETag.

    While it is not complete the file is called after that SHA-256, so that a later process can go on with it. Raises
    ``Damaged`` where the SHA-256 is another one, twice.
    """
    patience = http.patience()
    damaged = 0
    while True:
        part = next(iter(sorted(folder.glob(PARTS))), None)
        before = 0 if part is None else part.stat().st_size
        headers = {"Range": f"bytes={before}-", "If-Range": f'"{_wanted(part)}"'} if part and before else {}
        with http.ask("GET", path, token=token, headers=headers, stream=True, also={BEYOND}) as answer:
            if answer.status_code != BEYOND or part is None:  # beyond its end: all of it is here
                part = _target(http, answer, part, folder)
                broken = _receive(answer, part, on_bytes)
                if broken is not None:
                    if part.stat().st_size > before:
                        patience = http.patience()
                    else:
                        patience.wait(broken)
                    continue
        if _digest(part) == _wanted(part):
            return part
        part.unlink()
        damaged += 1
        if damaged == MOST_DAMAGED:
            raise Damaged("The result's SHA-256 is not the one that the server told, twice: it is damaged.")


def _target(http: Http, answer: requests.Response, part: Path | None, folder: Path) -> Path:
    """Find the file behind whose content the answer's belongs."""
    etag = ETAG.fullmatch(answer.headers.get("ETag", ""))
    if etag is None:
        raise http.stranger()
    target = folder / f".tomaat-{etag[1]}.part"
    if answer.status_code == PARTIAL:
        span = CONTENT_RANGE.match(answer.headers.get("Content-Range", ""))
        if span is None or target != part or int(span[1]) != part.stat().st_size:
            raise http.stranger()
    else:
        for outdated in folder.glob(PARTS):
            outdated.unlink()
    return target


def _receive(answer: requests.Response, part: Path, on_bytes: OnBytes) -> Unreachable | None:
    """Append the bytes of the answer; return the error that broke it off, if any."""
    with part.open("ab") as file:
        done = file.tell()
        total = done + int(answer.headers.get("Content-Length", 0))
        try:
            for chunk in answer.iter_content(CHUNK_BYTES):
                file.write(chunk)
                done += len(chunk)
                on_bytes(done, max(done, total))
        except BROKEN as error:
            return Unreachable(f"The download broke: {reason_of(error)}.")
    return Unreachable("The download broke: it ended too early.") if done < total else None


def _wanted(part: Path) -> str:
    return part.stem.partition("-")[2]


def _digest(part: Path) -> str:
    with part.open("rb") as file:
        return digest_of(file)
