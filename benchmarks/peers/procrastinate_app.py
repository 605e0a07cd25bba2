"""The work through procrastinate, whose queue is a table of PostgreSQL."""

import os
from pathlib import Path

import procrastinate

from benchmarks.peers import front, work

app = procrastinate.App(connector=procrastinate.PsycopgConnector(conninfo=os.environ["PEER_QUEUE"]))


@app.task(name="answer")
def answer(service: str, folder: str) -> None:
    """Make a ticket's result."""
    work.answer(service, Path(folder))


if __name__ == "__main__":
    with app.open():
        front.serve(lambda service, folder: answer.defer(service=service, folder=folder))
