"""What a checkpoint of nnU-Net says of itself, read without running anything of it and without torch."""

from __future__ import annotations

import io
import pickle
import re
import zipfile
from collections import OrderedDict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tomaat.services.folders.folder_refused import FolderRefused

LARGEST_PICKLE_BYTES = 256 * 1024**2  #: more than nnU-Net ever writes beside the weights
#: What ``torch.load(weights_only=True)`` makes by itself, and numpy's scalars, which nnU-Net's log of a training holds.
HARMLESS = re.compile(
    r"collections\.OrderedDict|_codecs\.encode|torch\.(device|Size|\w+Storage)"
    r"|torch\._utils\._rebuild_(tensor_v2|parameter)"
    r"|numpy\.(core|_core)\.multiarray\.scalar|numpy\.dtype|numpy\.dtypes\.\w+DType"
)


@dataclass(frozen=True, kw_only=True)
class NnunetCheckpoint:
    """The facts beside the weights."""

    trainer: str  #: name of the class that trained it
    configuration: str  #: of the plans, such as ``3d_fullres``
    mirrored_axes: tuple[int, ...]  #: along which it may be mirrored; none: it must not be
    code: tuple[str, ...]  #: functions and classes that reading it with ``weights_only=False`` would call


def read_checkpoint(path: Path) -> NnunetCheckpoint:
    """Read a checkpoint's facts. Each function that its pickle calls is replaced by one that does nothing.

    Raises ``FolderRefused`` for a file that is no checkpoint of nnU-Net v2.
    """
    shown = f"{path.parent.name}/{path.name}"
    try:
        with zipfile.ZipFile(path) as archive:
            pickled = next(each for each in archive.infolist() if each.filename.endswith("/data.pkl"))
            with archive.open(pickled) as stream:
                reader = _Reader(io.BytesIO(stream.read(LARGEST_PICKLE_BYTES)))
        told = reader.load()
    except Exception as error:
        raise FolderRefused(f"{shown} is no checkpoint of torch ({type(error).__name__}); copy it again.") from error
    return _facts(shown, told, tuple(sorted(reader.called)))


def _facts(shown: str, told: Any, called: tuple[str, ...]) -> NnunetCheckpoint:
    arguments = told.get("init_args") if isinstance(told, dict) else None
    configuration = arguments.get("configuration") if isinstance(arguments, dict) else None
    if not isinstance(configuration, str) or "network_weights" not in told:
        rule = "lacks 'network_weights' or init_args['configuration'], which nnU-Net v2 writes"
        raise FolderRefused(f"{shown} {rule}; save it by nnUNetTrainer.save_checkpoint.")
    axes = told.get("inference_allowed_mirroring_axes")
    axes = axes if isinstance(axes, (list, tuple)) else ()
    return NnunetCheckpoint(
        trainer=str(told.get("trainer_name")),
        configuration=configuration,
        mirrored_axes=tuple(axis for axis in axes if isinstance(axis, int)),
        code=tuple(name for name in called if not HARMLESS.fullmatch(name)),
    )


class _Inert:
    """Stands for whatever a pickle would make, and does nothing."""

    def __init__(self, *_: Any, **__: Any) -> None:
        pass

    def __call__(self, *_: Any, **__: Any) -> _Inert:
        return self

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass

    def append(self, value: Any) -> None:
        """Take an element of a list."""

    def extend(self, values: Any) -> None:
        """Take elements of a list."""


class _Reader(pickle.Unpickler):
    """Reads a pickle, in which no name means anything but ``OrderedDict``; notes the names."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self.called: set[str] = set()

    def find_class(self, module: str, name: str) -> Any:
        self.called.add(f"{module}.{name}")
        return OrderedDict if (module, name) == ("collections", "OrderedDict") else _Inert

    def persistent_load(self, _: Any) -> None:
        """Leave a tensor's numbers where they are."""
