"""The program that imports the tasks: ``python3 -m tomaat.doctor.look_into_tasks --to DESCRIPTOR FOLDER``."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from tomaat.services import Offer
from tomaat.services.find import find_tasks

LARGEST_OFFER_BYTES = 150 * 1024  #: as the worker can tell it


def look(folder: Path) -> dict[str, Any]:
    """Find the tasks as a worker does, and make their offers; tell the services and the faults."""
    found = find_tasks(folder)
    problems = [f"{each.file}: {each.reason}" for each in found.problems]
    services = []
    for name, task in found.tasks.items():
        try:
            size = len(json.dumps(Offer.of(task).to_json()))
            if task.weights is not None and not task.weights.exists():
                problems.append(f"{name}: its weights {task.weights} do not exist")
            elif size > LARGEST_OFFER_BYTES:
                problems.append(f"{name}: its interface has {size} bytes; {LARGEST_OFFER_BYTES} can be told")
            else:
                services.append(name)
        except Exception as error:  # noqa: BLE001 (other people's code may raise anything)
            problems.append(f"{name}: its offer cannot be made: {type(error).__name__}: {error}")
    return {"services": services, "problems": problems}


def main() -> None:
    """Write the answer."""
    answer = look(Path(sys.argv[3]))
    with os.fdopen(int(sys.argv[2]), "w") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main()
