"""Write the network as an ONNX file with its card into a folder that the server offers as it is.

``python -m networks.inner_ear.export InnerEarBlocks`` needs the package ``onnx``.
"""

from __future__ import annotations

import argparse
import shutil
import warnings
from pathlib import Path

import torch

from CustomTasks.InnerEarSegmentationTask import BLOCK, InnerEarSegmentationTask

CARD = Path(__file__).with_name("tomaat.yaml")


def export(folder: Path) -> None:
    """Write both files; the network takes blocks of shape (1, 1, i, j, k), as the task's, and gives logits."""
    folder.mkdir(parents=True, exist_ok=True)
    task = InnerEarSegmentationTask()
    task.load(torch.device("cpu"))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch advises its newer exporter, which needs more packages
        torch.onnx.export(
            task.network,
            (torch.zeros((1, 1, *BLOCK)),),
            folder / "inner_ear.onnx",
            dynamo=False,
            input_names=["voxels"],
            output_names=["logits"],
        )
    shutil.copyfile(CARD, folder / CARD.name)


def main(arguments: list[str] | None = None) -> None:
    """Export."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path, help="becomes the network's folder; its name is the service's")
    export(parser.parse_args(arguments).folder)


if __name__ == "__main__":
    main()
