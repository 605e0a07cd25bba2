"""Copy a task's outputs, so that it may perform again before these are written."""

from __future__ import annotations

import copy
import shutil
from collections import deque
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from tomaat.refusals import WrongValue
from tomaat.volumes import Labels, Volume
from tomaat.volumes.tensors import as_array


class Copies:
    """The memory of one ticket's copies; ``spare`` is that of tickets that are through, to be used again.

    Memory that is new to a process may cost more time than the copy: a virtual machine has to find it first.
    """

    def __init__(self, spare: deque[np.ndarray[Any, Any]]) -> None:
        self.spare = spare
        self.lent: list[np.ndarray[Any, Any]] = []

    def copy(self, array: np.ndarray[Any, Any], dtype: np.dtype[Any] | None = None) -> np.ndarray[Any, Any]:
        """Copy an array's numbers, in the order in which they lie, maybe as another type that has them all."""
        dtype = array.dtype if dtype is None else dtype
        order = np.argsort([-abs(step) for step in array.strides], kind="stable")
        lying = array.transpose(order)
        size = array.size * dtype.itemsize
        self.lent.append(self._block(size))
        copied = self.lent[-1][:size].view(dtype).reshape(lying.shape)
        np.copyto(copied, lying, casting="unsafe")
        return copied.transpose(np.argsort(order))

    def _block(self, size: int) -> np.ndarray[Any, Any]:
        """Take a spare block in which there is room; those that are too small go, and make room for a new one."""
        while self.spare:
            block = self.spare.popleft()
            if block.nbytes >= size:
                return block
        return np.empty(size, np.uint8)

    def end(self) -> None:
        """Give the memory back: nobody looks at the copies any longer."""
        self.spare.extend(self.lent)
        self.lent = []


def keep_outputs(outputs: Any, folder: Path, copies: Copies) -> Any:
    """Copy each output: a tensor off its device, voxels and values in memory, a file into ``folder``.

    A task may fill the same buffer, or write the same file, for the next ticket: another patient's. A value
    that cannot be copied is no output, and ``write_outputs`` says so. Raises ``WrongValue``, with a sentence for the
    task's author, for a path of no regular file (a device may never end), and ``OSError`` where one cannot be copied.
    """
    if not isinstance(outputs, dict):
        return outputs
    return {
        name: _keep(name, value, folder / str(number), copies) for number, (name, value) in enumerate(outputs.items())
    }


def _keep(name: Any, value: Any, path: Path, copies: Copies) -> Any:
    if hasattr(value, "detach"):  # a torch tensor, which only tasks know
        return as_array(value.detach().to("cpu", copy=True))
    if isinstance(value, Labels):
        return value.copied(copies.copy)
    if isinstance(value, Volume) and not value.array.dtype.hasobject:
        return replace(value, array=copies.copy(value.array))
    if isinstance(value, Path):
        if not value.is_file():
            raise WrongValue("the output {!r} is a path at which there is no regular file; return a regular file", name)
        path.parent.mkdir(exist_ok=True)
        kept = path.with_name(path.name + "".join(value.suffixes[-2:]))
        shutil.copyfile(value, kept)
        return kept
    try:
        return copy.deepcopy(value)
    except BaseException:  # noqa: BLE001 (other people's objects may raise anything)
        return value
