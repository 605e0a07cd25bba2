"""Load the weights of a MONAI bundle, once, as its checkpoint loader would."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from monai.networks.utils import copy_model_state

from tomaat.services.folders.folder_refused import FolderRefused

LOADER = "CheckpointLoader"
USUAL = "models/model.pt"


def load_weights(parser: Any, place: Path, network: torch.nn.Module, device: torch.device) -> None:
    """Load into ``network`` the checkpoint that the configuration names for it, else ``models/model.pt``.

    Only tensors are read (``weights_only=True``). Raises ``FolderRefused`` where no checkpoint is there or fits.
    """
    for id in _loaders(parser.config):
        objects = parser.get_parsed_content(f"{id}::load_dict")
        key = next((key for key, loaded in objects.items() if loaded is network), None)
        if key is None or _said(parser, f"{id}::_disabled_", usual=False):
            continue
        file = place / str(parser.get_parsed_content(f"{id}::load_path"))
        strict_shape = _said(parser, f"{id}::strict_shape", usual=True)
        strict = strict_shape and _said(parser, f"{id}::strict", usual=True)
        state = _state(place, file, device, key=key, is_alone=len(objects) == 1)
        _give(network, state, file, strict=strict, strict_shape=strict_shape)
        return
    if (place / USUAL).is_file():
        state = _state(place, place / USUAL, device, key="model", is_alone=True)
        _give(network, state, place / USUAL, strict=True, strict_shape=True)
    elif not isinstance(network, torch.jit.ScriptModule):  # which brought its own
        raise FolderRefused(
            f"{place.name}: nothing loads the network's weights, which would be random: there is no {LOADER} for it in "
            f"the configuration and no {USUAL}. Put the weights there."
        )


def _state(place: Path, file: Path, device: torch.device, *, key: str, is_alone: bool) -> dict[str, Any]:
    """Read a network's weights; the file of one object alone may hold them without the object's key."""
    file = file.resolve()
    if not file.is_relative_to(place.resolve()):
        raise FolderRefused(
            f"{place.name}: its weights {file} lie outside of the folder, so they have no part in its hash; put them "
            "into models/."
        )
    name = file.relative_to(place.resolve())
    if not file.is_file():
        raise FolderRefused(
            f"{place.name}: {name} is missing, from which the configuration loads the weights; put it there: "
            "large_files.yml of a bundle of MONAI's zoo says where it is."
        )
    try:
        checkpoint = torch.load(file, map_location=device, weights_only=True)
    except pickle.UnpicklingError:
        raise FolderRefused(
            f"{place.name}: {name} is no checkpoint that holds tensors alone; save the network's state_dict by "
            "torch.save, or fetch the file itself where this is a pointer to it."
        ) from None
    state: Any = checkpoint if is_alone and key not in checkpoint else checkpoint.get(key)
    if not isinstance(state, dict):
        raise FolderRefused(f"{place.name}: {name} has no weights under {key!r}, which the configuration names.")
    return state


def _give(network: torch.nn.Module, state: dict[str, Any], file: Path, *, strict: bool, strict_shape: bool) -> None:
    """Give a network its weights."""
    if not strict_shape:
        copy_model_state(network, state)
        return
    try:
        network.load_state_dict(state, strict=strict)
    except RuntimeError as error:
        rule = " ".join(str(error).split())[:400]
        raise FolderRefused(f"{file.name} does not fit the network of the configuration: {rule}") from None


def _loaders(config: Any, id: str = "") -> Iterator[str]:
    """Give the ids of all checkpoint loaders in a configuration."""
    if isinstance(config, dict) and str(config.get("_target_")).rpartition(".")[2] == LOADER:
        yield id
    entries = config.items() if isinstance(config, dict) else enumerate(config) if isinstance(config, list) else ()
    for key, entry in entries:
        yield from _loaders(entry, f"{id}::{key}" if id else str(key))


def _said(parser: Any, id: str, *, usual: bool) -> bool:
    """Read a truth value of the configuration, also where it is written as a text."""
    value = parser.get_parsed_content(id) if id in parser else usual
    return value.strip().lower() == "true" if isinstance(value, str) else bool(value)
