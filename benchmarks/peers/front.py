"""What stands before each peer: the two requests of a ticket's life, answered by Flask."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path

import flask
import waitress

from benchmarks.peers.work import PAYLOAD, RESULT

THREADS = 32  #: as many as this service's own
SHARE = 0.02  #: by which an answer may come late, of the time that was waited
LEAST_SECONDS = 0.001


def serve(enqueue: Callable[[str, str], object]) -> None:
    """Listen until the end; ``enqueue`` takes the service and the folder of a ticket."""
    folder = Path(os.environ["PEER_FOLDER"])
    front = flask.Flask("front")

    @front.post("/request")
    def submit() -> tuple[dict[str, object], int]:
        ticket = uuid.uuid4().hex
        place = folder / ticket
        place.mkdir()
        flask.request.files["payload"].save(place / PAYLOAD)
        enqueue(flask.request.form["service"], str(place))
        return {"links": {"result": f"/result/{ticket}"}}, 202

    @front.get("/result/<ticket>")
    def result(ticket: str) -> flask.Response:
        """Wait for the file: that costs a look, and less than asking the queue."""
        path = folder / ticket / RESULT
        began = time.monotonic()
        while not path.exists():
            waited = time.monotonic() - began
            if waited > float(flask.request.args["wait"]):
                return flask.Response("not yet", 409, {"Retry-After": "1"})
            time.sleep(max(LEAST_SECONDS, SHARE * waited))
        return flask.send_file(path)

    waitress.serve(front, host="127.0.0.1", port=int(os.environ["PEER_PORT"]), threads=THREADS)
