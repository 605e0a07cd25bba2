"""Write a task's outputs: files beside ``result.json``, and an entry for each in it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np

from tomaat.headers import VolumeRefused
from tomaat.refusals import WrongType, WrongValue
from tomaat.services.payload import DICOM_SEG
from tomaat.volumes import Labels, Volume, draw_preview, slicer_fields, write_volume
from tomaat.volumes.tensors import as_array

LONGEST_OUTPUT_NAME = 64
RESULT = "result.json"
PREVIEW = "preview.png"
NIFTI = "nii.gz"
OTHERS = {"seg.nrrd": "nrrd", DICOM_SEG: NIFTI}  #: of a format for labels only, that of other volumes


def choose_segmented(volumes: Sequence[Volume], format: str) -> Volume | None:
    """Choose the volume on whose grid labels come back: the first that was sent, or the first DICOM series.

    Raises ``VolumeRefused`` where the images do not say which they are, before a task performs in vain.
    """
    if format != DICOM_SEG or not volumes:
        return next(iter(volumes), None)
    from tomaat.volumes.dicom_seg import source_images  # noqa: PLC0415 (highdicom takes a second)

    series = next((volume for volume in volumes if volume.dicom is not None), None)
    if series is None:
        raise VolumeRefused("no-dicom", f"The format {DICOM_SEG} refers to DICOM images, and none was sent.")
    source_images(series)
    return series


def write_outputs(
    outputs: Any,
    folder: Path,
    segmented: Volume | None = None,
    format: str = "nii.gz",
    facts: Mapping[str, Any] | None = None,
) -> list[dict[str, Any]]:
    """Write each output into ``folder`` under its name; return the entry of each for ``result.json``.

    ``segmented`` is the input volume on whose grid labels come back, with a picture of both. ``format`` is that of all
    volumes, or of labels, the others becoming ``OTHERS``. ``dicom-seg`` needs the result's ``facts``, and makes
    ``nii.gz`` where there is no input volume. Raises ``WrongType`` or ``WrongValue`` with a sentence for the task's
    author.
    """
    if segmented is None and format == DICOM_SEG:
        format = OTHERS[format]
    if not isinstance(outputs, dict):
        raise WrongType(f"perform() returned {type(outputs).__name__}; return a dict of named outputs")
    names: dict[str, Any] = {}
    for name in outputs:
        other = names.setdefault(str(name).lower(), name)
        if other != name:
            raise WrongValue("the outputs {!r} and {!r} would be one file where names ignore case", other, name)
    several = sum(isinstance(value, Labels) for value in outputs.values()) > 1
    return [
        _write_labels(name, value, folder, segmented, format=format, facts=facts or {}, several=several)
        if isinstance(value, Labels)
        else _write(name, value, folder, format)
        for name, value in outputs.items()
    ]


def _write(name: Any, value: Any, folder: Path, format: str) -> dict[str, Any]:
    _check_name(name)
    if hasattr(value, "detach"):  # a torch tensor, which only tasks know
        value = as_array(value)
    if isinstance(value, Volume):
        file = f"{name}.{OTHERS.get(format, format)}"
        write_volume(value, folder / file)
        return {"name": name, "type": "volume", "file": file}
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject:
            raise WrongType("the output {!r} is an array of objects; give it numbers", name)
        file = f"{name}.npy"
        np.save(folder / file, value, allow_pickle=False)
        return {"name": name, "type": "array", "file": file}
    if isinstance(value, Path):
        file = name + "".join(value.suffixes[-2:])
        if file in {RESULT, PREVIEW}:
            raise WrongValue(f"the output {name!r} would be written as {file}, which is the result's own")
        shutil.copyfile(value, folder / file, follow_symlinks=False)
        return {"name": name, "type": "file", "file": file}
    return {"name": name, "type": "text" if isinstance(value, str) else "json", "value": _plain(name, value)}


def _write_labels(
    name: Any,
    value: Labels,
    folder: Path,
    segmented: Volume | None,
    *,
    format: str,
    facts: Mapping[str, Any],
    several: bool,
) -> dict[str, Any]:
    """Write labels, and beside the writing count them and draw a picture of them.

    It is ``preview.png`` where there is one, else ``preview-<name>.png``. Beside a DICOM Segmentation lies the NIfTI
    that would have been written without it, which more programs can show.
    """
    _check_name(name)
    labels = value.onto(segmented or value.volume)
    written = {"name": name, "type": "labels", "file": f"{name}.{'dcm' if format == DICOM_SEG else format}"}
    with ThreadPoolExecutor(1) as beside:
        if format == DICOM_SEG and segmented is not None:
            from tomaat.volumes.dicom_seg import write_dicom_seg  # noqa: PLC0415 (highdicom takes a second)

            written["nifti"] = f"{name}.{NIFTI}"
            writing = [
                beside.submit(write_dicom_seg, labels, segmented, folder / written["file"], facts),
                beside.submit(write_volume, labels.volume, folder / written["nifti"]),
            ]
        else:
            fields = slicer_fields(labels) if format == "seg.nrrd" else None
            writing = [beside.submit(write_volume, labels.volume, folder / written["file"], fields)]
        written["labels"] = labels.counted()
        if segmented is not None:
            written["preview"] = f"preview-{name}.png" if several else PREVIEW
            draw_preview(segmented, labels, folder / written["preview"])
    for each in writing:
        each.result()
    return written


def _check_name(name: Any) -> None:
    if not isinstance(name, str) or not name.isidentifier() or len(name) > LONGEST_OUTPUT_NAME:
        rule = f"is not a Python name of at most {LONGEST_OUTPUT_NAME} letters"
        raise WrongValue(f"the output name {{!r}} {rule}", name)


def _plain(name: str, value: Any) -> Any:
    value = value.item() if isinstance(value, np.generic) else value
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as error:
        kind = f"is {type(value).__name__}, which is no Volume, text, array, path or JSON"
        raise WrongType(f"the output {{!r}} {kind}: {{}}", name, error) from None
    return value
