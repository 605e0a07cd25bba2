"""The work through Celery, with Redis as its broker and as the place of its results."""

import os
from pathlib import Path

from celery import Celery

from benchmarks.peers import front, work

app = Celery("peer", broker=os.environ["PEER_QUEUE"], backend=os.environ["PEER_QUEUE"])


@app.task(name="answer")
def answer(service: str, folder: str) -> None:
    """Make a ticket's result."""
    work.answer(service, Path(folder))


if __name__ == "__main__":
    front.serve(answer.delay)
