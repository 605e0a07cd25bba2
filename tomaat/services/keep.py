"""Copy a task's outputs, so that it may perform again before these are written."""

from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

from tomaat.refusals import WrongValue
from tomaat.volumes.tensors import as_array


def keep_outputs(outputs: Any, folder: Path) -> Any:
    """Copy each output: a tensor off its device, voxels and values in memory, a file into ``folder``.

    A task may fill the same buffer, or write the same file, for the next ticket: another patient's. A value
    that cannot be copied is no output, and ``write_outputs`` says so. Raises ``WrongValue``, with a sentence for the
    task's author, for a path of no regular file (a device may never end), and ``OSError`` where one cannot be copied.
    """
    if not isinstance(outputs, dict):
        return outputs
    return {name: _keep(name, value, folder / str(number)) for number, (name, value) in enumerate(outputs.items())}


def _keep(name: Any, value: Any, path: Path) -> Any:
    if hasattr(value, "detach"):  # a torch tensor, which only tasks know
        return as_array(value.detach().to("cpu", copy=True))
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
