"""Read ``configs/inference.json`` or ``.yaml`` of a MONAI bundle as plain data: nothing in it is run here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tomaat.services.folders.folder_refused import FolderRefused

FILES = ("configs/inference.json", "configs/inference.yaml", "configs/inference.yml")
EVALUATORS = {
    "SupervisedEvaluator",
    "monai.engines.SupervisedEvaluator",
    "monai.engines.evaluator.SupervisedEvaluator",
}
#: Arguments of an evaluator by which it would do something else than preprocess, infer and postprocess.
ELSEWISE = ("iteration_update", "prepare_batch", "compile", "to_kwargs")
SLIDING_WINDOW = {"SlidingWindowInferer", "monai.inferers.SlidingWindowInferer"}
USUAL_OVERLAP = 0.25  #: MONAI's own default
MOST_REFERENCES = 20  #: that lead from one to the next


def config_file(place: Path) -> Path:
    """Find the configuration of the inference. Raises ``FolderRefused`` where there is none."""
    for name in FILES:
        if (place / name).is_file():
            return place / name
    raise FolderRefused(f"{place.name} has no {FILES[0]} (or .yaml); a service is made of bundles that have it.")


def read_config(place: Path) -> dict[str, Any]:
    """Read the configuration of the inference. Raises ``FolderRefused`` where it cannot be read."""
    file = config_file(place)
    name = str(file.relative_to(place))
    try:
        config = json.loads(file.read_text(encoding="utf-8")) if file.suffix == ".json" else _read_yaml(file)
    except (OSError, ValueError) as error:
        raise FolderRefused(f"{name} cannot be read: {error}. Write JSON or YAML.") from None
    if not isinstance(config, dict):
        raise FolderRefused(f"{name} is no object of names and values; write it as MONAI's bundle specification says.")
    return config


def _read_yaml(file: Path) -> Any:
    try:
        import yaml  # noqa: PLC0415 (the other half of the bundles is JSON)
    except ImportError:
        raise FolderRefused(f"{file.name} is YAML, which needs PyYAML: pip install -r requirements-monai.txt") from None
    try:
        return yaml.safe_load(file.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from None


def check_evaluator(evaluator: object, name: str) -> None:
    """Raise ``FolderRefused`` for an evaluator that does more than preprocess, infer once and postprocess."""
    if not isinstance(evaluator, Mapping):
        raise FolderRefused(f"{name} has no evaluator; a service is made of bundles whose evaluator is MONAI's.")
    target = evaluator.get("_target_")
    if target not in EVALUATORS:
        raise FolderRefused(
            f"{name}: the evaluator is {target!r}; a service is made of a SupervisedEvaluator only. Detection, "
            "ensembles and generative bundles have others: write a task for it."
        )
    for argument in ELSEWISE:
        if evaluator.get(argument):
            raise FolderRefused(f"{name}: evaluator#{argument} is set, which a service cannot follow; remove it.")
    if evaluator.get("decollate") is False or evaluator.get("mode", "eval") != "eval":
        raise FolderRefused(f"{name}: the evaluator decollates not, or is in training mode; remove decollate and mode.")


def overlap_of(config: Mapping[str, Any]) -> float | None:
    """Tell how much the tiles of the inference overlap, where the configuration says it as one plain number."""
    inferer = follow(config, follow(config, "@evaluator#inferer"))
    if not isinstance(inferer, Mapping) or inferer.get("_target_") not in SLIDING_WINDOW:
        return None
    overlap = follow(config, inferer.get("overlap", USUAL_OVERLAP))
    is_number = isinstance(overlap, (int, float)) and not isinstance(overlap, bool)
    return float(overlap) if is_number and 0 <= overlap < 1 else None


def follow(config: Mapping[str, Any], value: Any) -> Any:
    """Follow plain references such as ``@inferer`` or ``@a#b`` to a value; other values are given as they are."""
    for _ in range(MOST_REFERENCES):
        if not isinstance(value, str) or not value.startswith("@"):
            return value
        found: Any = config
        for key in value[1:].replace("::", "#").split("#"):
            found = follow(config, found)
            if isinstance(found, Mapping) and key in found:
                found = found[key]
            elif isinstance(found, list) and key.isdigit() and int(key) < len(found):
                found = found[int(key)]
            else:
                return None
        value = found
    return None
