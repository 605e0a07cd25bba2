"""The program that asks torch which devices it can use: ``python3 -m tomaat.doctor.ask_torch --to DESCRIPTOR``."""

from __future__ import annotations

import json
import os
import sys
from typing import Any


def devices() -> dict[str, Any]:
    """Tell torch's version, the CUDA that it was built for, and each GPU that it can compute on, by its UUID."""
    import torch  # noqa: PLC0415 (as late as its failure can be told)

    found: dict[str, Any] = {"version": torch.__version__, "cuda": torch.version.cuda, "gpus": {}, "faults": []}
    for index in range(torch.cuda.device_count()):
        try:
            torch.zeros(1, device=f"cuda:{index}").add_(1).cpu()
            uuid = f"GPU-{torch.cuda.get_device_properties(index).uuid}"
            found["gpus"][uuid] = torch.cuda.get_device_name(index)
        except Exception as error:  # noqa: BLE001 (a driver may raise anything)
            found["faults"].append(str(error).strip().splitlines()[0])
    return found


def main() -> None:
    """Write the answer."""
    try:
        answer = devices()
    except ImportError as error:
        answer = {"missing": str(error)}
    with os.fdopen(int(sys.argv[2]), "w") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main()
