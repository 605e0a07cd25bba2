"""MONAI bundles as network folders: how they are known, and how each becomes a service."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from Inputs import FloatInput, Input, VolumeInput
from tomaat.services.folders.bundle_config import check_evaluator, config_file, overlap_of, read_config
from tomaat.services.folders.bundle_memory import BundleSizes
from tomaat.services.folders.bundle_metadata import FILE, BundleMetadata, read_metadata
from tomaat.services.folders.bundle_task import OVERLAP, BundleTask
from tomaat.services.folders.folder_refused import FolderRefused
from tomaat.services.folders.folder_task import FolderTask
from tomaat.services.folders.kind import Kind

WEIGHTS = (".pt", ".pth", ".ts")
LARGEST_OVERLAP = 0.9


def make_bundle(place: Path, name: str) -> type[FolderTask]:
    """Make the task class of a bundle's folder. Raises ``FolderRefused`` where no service can be made of it."""
    metadata = read_metadata(place)
    config = read_config(place)
    if not isinstance(config.get("evaluator"), str):  # which would lead elsewhere: then it is checked when loaded
        check_evaluator(config.get("evaluator"), str(config_file(place).relative_to(place)))
    if not any(file.suffix in WEIGHTS for file in (place / "models").glob("*")):
        raise FolderRefused(
            f"{place.name}/models holds no weights (.pt); put them there: large_files.yml of a bundle of MONAI's zoo "
            "says where they are."
        )
    facts: dict[str, Any] = {
        "task_identifier": name,
        "description": metadata.description,
        "version": metadata.version,
        "inputs": _inputs(metadata, overlap_of(config)),
        "metadata": metadata,
        "sizes": BundleSizes.of(config, metadata.outputs),
        **metadata.texts,
    }
    return type(name, (BundleTask,), facts)


def _inputs(metadata: BundleMetadata, overlap: float | None) -> list[Input]:
    modalities = None if metadata.modality is None else [metadata.modality]
    inputs: list[Input] = [VolumeInput(id, name, modalities=modalities) for id, name in metadata.channels.items()]
    if overlap is not None:
        inputs.append(
            FloatInput(
                OVERLAP,
                "Overlap of neighbouring tiles",
                description="A part of a tile. More is slower, and smoother where tiles meet.",
                minimum=0.0,
                maximum=max(LARGEST_OVERLAP, overlap),
                default=overlap,
            )
        )
    return inputs


def _is_bundle(place: Path) -> bool:
    return (place / FILE).is_file()


def _needs_trust(_place: Path) -> str:
    return (
        "A MONAI bundle's configuration is code: its expressions and its Python files run with all rights of the "
        "worker."
    )


BUNDLE = Kind(
    name="MONAI bundle",
    is_one=_is_bundle,
    make=make_bundle,
    needs_trust=_needs_trust,
    package="monai",
    requirements="requirements-monai.txt",
)
