"""The program that asks NVML for compute sources: ``python3 -m tomaat.doctor.ask_nvml --to DESCRIPTOR SETTINGS``."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from typing import Any

import structlog.testing

from tomaat.devices.sources import ComputeSourcesUnknown, find_sources


def sources(settings: dict[str, Any]) -> dict[str, Any]:
    """Tell which sources TaskScheduling would hold, and which GPUs NVML has lost."""
    lost: list[Any] = []
    try:
        with structlog.testing.capture_logs() as lost:
            found = find_sources(**settings)
    except ComputeSourcesUnknown as error:
        return {"unknown": str(error)}
    return {
        "sources": [dataclasses.asdict(source) for source in found],
        "lost": [f"{line['index']}: {line['reason']}" for line in lost if line["event"] == "gpu.unusable"],
    }


def main() -> None:
    """Write the answer."""
    answer = sources(json.loads(sys.argv[3]))
    with os.fdopen(int(sys.argv[2]), "w") as file:
        json.dump(answer, file)


if __name__ == "__main__":
    main()
