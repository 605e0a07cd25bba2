"""A network in a TorchScript file, or in one of ``torch.export``."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import structlog
import torch
from torch.export.passes import move_to_device_pass

log = structlog.get_logger()


class ScriptedNetwork:
    """A TorchScript network: (1, c, i, j, k), float32, to the first of its outputs, (1, classes, i, j, k)."""

    def __init__(self, file: Path, device: torch.device) -> None:
        log.warning("torchscript.deprecated", file=file.name, remedy="torch deprecates it; export to ONNX or .pt2")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            self.module = torch.jit.load(str(file), map_location=device).eval()
        self.device, self.dtype = device, floats_of(self.module.parameters())
        self.shape: tuple[int | None, ...] | None = None  #: the file does not say it
        self.gives: int | None = None  #: likewise

    def __call__(self, channels: torch.Tensor) -> torch.Tensor:
        """Run the network; float32, on the device."""
        with torch.no_grad():
            return first_of(self.module(channels.to(self.device, self.dtype))).float()


class ExportedNetwork:
    """A network of ``torch.export``, as ``ScriptedNetwork``. Raises ``ValueError`` for more than one input."""

    def __init__(self, file: Path, device: torch.device) -> None:
        program = torch.export.load(file)
        wanted = [node for node in program.graph.nodes if node.name in program.graph_signature.user_inputs]
        if len(wanted) != 1:
            raise ValueError(f"it has {len(wanted)} inputs; export it with one, of all channels")
        facts = wanted[0].meta["val"]
        self.device, self.dtype = device, facts.dtype
        self.shape = tuple(size if isinstance(size, int) else None for size in facts.shape)
        self.gives = channels_given(program)
        self.module = (program if device.type == "cpu" else move_to_device_pass(program, str(device))).module()

    def __call__(self, channels: torch.Tensor) -> torch.Tensor:
        """Run the network; float32, on the device."""
        with torch.no_grad():
            return first_of(self.module(channels.to(self.device, self.dtype))).float()


def floats_of(parameters: Any) -> torch.dtype:
    """Tell of which floats a network is."""
    return next((each.dtype for each in parameters if each.is_floating_point()), torch.float32)


def channels_given(program: Any) -> int | None:
    """Tell how many channels the first output has; ``None`` where the program does not say."""
    given = [node for node in program.graph.nodes if node.name in program.graph_signature.user_outputs[:1]]
    shape: Any = getattr(given[0].meta.get("val"), "shape", ()) if given else ()
    return shape[1] if len(shape) > 1 and isinstance(shape[1], int) else None


def first_of(output: Any) -> torch.Tensor:
    """Take the first of several outputs: those after it are of a deep supervision."""
    while not isinstance(output, torch.Tensor):
        output = next(iter(output.values() if isinstance(output, dict) else output))
    return output
