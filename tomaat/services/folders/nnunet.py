"""nnU-Net v2's trained-model folders, as a kind of network folder."""

from __future__ import annotations

import keyword
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from Inputs import BooleanInput, FloatInput, Input, SingleChoiceInput, VolumeInput
from tomaat.refusals import shown
from tomaat.services.folders.folder_task import FolderTask
from tomaat.services.folders.kind import Kind
from tomaat.services.folders.known_codes import known_code
from tomaat.services.folders.nnunet_model import NnunetModel, read_model
from tomaat.services.folders.nnunet_task import DEFAULT_TILE_STEP, FOLDS, MIRRORING, TILE_STEP, TOGETHER, NnunetTask
from tomaat.services.folders.nnunet_trainers import PACKAGE, demand_known_trainer

LONGEST_ID = 40  #: characters, of a channel's name in its input's id
LONGEST_NAME = 200  #: characters, of an input's name
#: Texts of ``dataset.json`` for people: the attribute of a task, the keys, the most characters.
TEXTS = (("licence", ("licence", "license"), 200), ("reference", ("reference", "citation"), 1000))


def is_nnunet(place: Path) -> bool:
    """Tell a trained-model folder by its files' names."""
    return (place / "plans.json").is_file()


def needs_trust(place: Path) -> str | None:
    """Say which code of a folder would run; ``None`` for one of weights and texts, as nnU-Net itself leaves it."""
    code = read_model(place).code
    if not code:
        return None
    return (
        f"Loading it calls {', '.join(map(shown, code[:3]))}{' and others' if len(code) > 3 else ''}, "  # noqa: PLR2004
        "which nnU-Net's own folders do not: whoever made the folder can run anything as this server's worker."
    )


def make_nnunet(place: Path, name: str) -> type[FolderTask]:
    """Make the task of a folder; raises ``FolderRefused``."""
    model = read_model(place)
    demand_known_trainer(model.checkpoint.trainer)
    ids = channel_ids(model.channels)
    texts = {key: text_of(model.dataset, names, longest) for key, names, longest in TEXTS}
    declared = {
        "task_identifier": name,
        "description": text_of(model.dataset, ("description",), 2000) or described(model),
        "inputs": [*volume_inputs(model, ids), *option_inputs(model)],
        "model": model,
        "channel_ids": ids,
        "codes": {value: code for value, name in model.labels.names.items() if (code := known_code(name))},
        **texts,
    }
    return type("NnunetTask", (NnunetTask,), declared)


def described(model: NnunetModel) -> str:
    """Describe a network in a sentence."""
    folds = f"the mean of {len(model.together)} networks" if len(model.together) > 1 else "one network"
    names = list(model.labels.names.values())
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""  # noqa: PLR2004 (names that one sentence has)
    return f"Marks {', '.join(names[:5])}{more}, by nnU-Net ({model.checkpoint.configuration}, {folds})."


def text_of(dataset: dict[str, Any], keys: Sequence[str], longest: int) -> str:
    """Read a text for people, as one line that can be printed; ``""`` where there is none."""
    return line_of(next((dataset[key] for key in keys if isinstance(dataset.get(key), str)), ""), longest)


def line_of(text: str, longest: int) -> str:
    """Make one line of a text that can be printed, of so many characters at most."""
    line = " ".join("".join(each if each.isprintable() else " " for each in text).split())
    return line if len(line) <= longest else line[: longest - 3] + "..."


def channel_ids(channels: Sequence[str]) -> tuple[str, ...]:
    """Make the inputs' ids of the channels' names, in their order, none twice.

    >>> channel_ids(["CT"]), channel_ids(["T1 Gd", "T1-Gd", "2"])
    (('ct',), ('t1_gd', 't1_gd_1', 'channel_2'))
    """
    ids: list[str] = []
    for number, name in enumerate(channels):
        id = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[:LONGEST_ID]
        if not re.match(r"[a-z]", id) or keyword.iskeyword(id):
            id = f"channel_{number}"
        taken = {*ids, FOLDS, TILE_STEP, MIRRORING, "self"}
        ids.append(f"{id}_{number}" if id in taken else id)
    return tuple(ids)


def volume_inputs(model: NnunetModel, ids: Sequence[str]) -> list[Input]:
    """Declare a volume for each channel. Only of ``CT`` does nnU-Net's own rule say DICOM's modality."""
    return [
        VolumeInput(id, line_of(channel, LONGEST_NAME) or id, modalities=["CT"] if channel.lower() == "ct" else None)
        for id, channel in zip(ids, model.channels, strict=True)
    ]


def option_inputs(model: NnunetModel) -> list[Input]:
    """Declare the options that change a result, with nnU-Net's own defaults."""
    options: list[Input] = []
    if len(model.folds) > 1:
        alone = [f"fold_{fold}" for fold in model.folds]
        several = len(model.together) > 1
        choices = [TOGETHER, *alone] if several else alone
        default = TOGETHER if several else f"fold_{model.together[0]}"
        about = f"{TOGETHER}: the mean of {len(model.together)} networks. One alone takes less time."
        options.append(SingleChoiceInput(FOLDS, "Networks", choices=choices, default=default, description=about))
    about = "In tiles. A larger step takes less time, and shows seams more."
    step = FloatInput(
        TILE_STEP, "Step between tiles", minimum=0.1, maximum=1, default=DEFAULT_TILE_STEP, description=about
    )
    options.append(step)
    if model.checkpoint.mirrored_axes:
        passes = 2 ** len(model.checkpoint.mirrored_axes)
        about = (
            f"Each tile is seen {passes} times, and the mean taken. Without it, the network takes 1/{passes} as long."
        )
        options.append(BooleanInput(MIRRORING, "Mirror the tiles", default=True, description=about))
    return options


NNUNET = Kind(
    name="nnU-Net",
    is_one=is_nnunet,
    make=make_nnunet,
    needs_trust=needs_trust,
    package=PACKAGE,
    requirements="requirements-nnunet.txt",
)
