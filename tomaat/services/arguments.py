"""Turn a checked payload into the arguments of ``perform``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from Inputs import Input, VolumeInput
from tomaat.headers import VolumeHeader, VolumeRefused
from tomaat.headers.remark import Remark
from tomaat.reader import VolumeReader
from tomaat.services.payload import Payload
from tomaat.services.payload_refused import PayloadRefused
from tomaat.volumes import Volume


def read_arguments(
    inputs: Sequence[Input], payload: Payload, reader: VolumeReader
) -> tuple[dict[str, Any], list[Volume], list[dict[str, str]]]:
    """Read volumes, convert values; give the volumes as they were sent too: labels come back on the grid of one.

    The third is what there is to remark, as ``result.json`` has it. Raises ``PayloadRefused`` for faults that only the
    voxels, or the whole of a series, show.
    """
    arguments: dict[str, Any] = {}
    sent = []
    remarks: list[dict[str, str]] = []
    for declared in inputs:
        if isinstance(declared, VolumeInput) and declared.id in payload.files:
            try:
                volume, told = read_volume(declared, payload, reader)
            except VolumeRefused as refusal:
                raise PayloadRefused([_entry(declared, refusal)], inputs=len(inputs)) from refusal
            sent.append(volume)
            remarks += [_entry(declared, remark) for remark in told]
            if declared.orientation is not None and declared.orientation != volume.orientation:
                volume = volume.reoriented(declared.orientation)
            arguments[declared.id] = volume
        else:
            value = payload.values.get(declared.id)
            arguments[declared.id] = None if value is None else declared.convert(value)
    return arguments, sent, remarks


def read_volume(declared: VolumeInput, payload: Payload, reader: VolumeReader) -> tuple[Volume, list[Remark]]:
    """Read the volume of an input, with all that is to be remarked on it; raises ``VolumeRefused``."""
    told = list(payload.remarks.get(declared.id, ()))

    def take(header: VolumeHeader) -> None:
        declared.demand(header)
        told.extend(header.remarks)

    chosen = payload.chosen.get(declared.id, {})
    volume = reader.read(
        payload.files[declared.id], **chosen, resampled=declared.resampled, demand=take, tell=told.append
    )
    return volume, told


def _entry(declared: Input, about: VolumeRefused | Remark) -> dict[str, str]:
    return {"input": declared.id, "code": about.code, "detail": f"{declared.id}: {about.detail}"}
