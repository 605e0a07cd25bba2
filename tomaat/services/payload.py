"""Check an unpacked payload against the inputs that a service declares. Standard library only.

``main.json``'s bytes → text (UTF-8, bounded) → JSON (bounded in depth, no key twice) → values, each checked by its
input; the folder's files → one ``file-<id>.<ext>``, or folder ``file-<id>`` of DICOM images, for each file input, its
header checked. A fault at any arrow is noted and the rest is checked all the same, so that a client reads every
fault at once. A ``file-<id>.zip`` of DICOM images becomes the folder of them on the way; ``remarks.json`` notes which
files of it are left out, for the result.
"""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from Inputs import Input, InputRefused, VolumeInput
from tomaat.archives import ArchiveLimits, ArchiveRefused, unzip_dicom
from tomaat.archives.beside_images import is_image
from tomaat.headers.nifti import FORMS
from tomaat.headers.remark import Remark
from tomaat.headers.volume_header import VolumeHeader
from tomaat.refusals import shown
from tomaat.services.payload_refused import PayloadRefused

__all__ = ["Payload", "PayloadRefused", "check_payload"]

MAIN = "main.json"
REMARKS = "remarks.json"  #: beside ``main.json``, once a zip was taken apart; no client sends it
ZIP = ".zip"  #: of DICOM images
DICOM_SEG = "dicom-seg"  #: labels as a DICOM Segmentation that refers to the images of a series that was sent
FORMATS = ("nii.gz", "nrrd", "mha", "seg.nrrd", DICOM_SEG)  #: of the result's volumes; the first is the default
LARGEST_MAIN_BYTES = 1024**2
DEEPEST_NESTING = 16  #: main.json's own object is level 1, a point of a list level 4
MOST_DIGITS = 400  #: an integer of more digits counts as infinite, since reading it takes time that grows squared
MOST_ERRORS = 100  #: faults that are told one by one
MOST_LISTED = 50  #: inputs that a refusal lists
MOST_LEFT_OUT = 20  #: files that a remark names
FILE_NAME = re.compile(r"file-([^.]*)(\..*)", re.DOTALL)
NESTING_TOKEN = re.compile(r'\\.|["\[\]{}]', re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Payload:
    """A checked payload."""

    values: dict[str, Any]  #: of each input in ``main.json``: canonical JSON, its default, or ``None`` if left out
    files: dict[str, Path]  #: of each file input that was sent; the folder of a DICOM series
    headers: dict[str, VolumeHeader]  #: of each volume that was sent as one file
    chosen: dict[
        str, dict[str, Any]
    ]  #: of each volume for which the client said it: DICOM ``series``, ``volume``, ``form``
    format: str  #: of the result's volumes, one of ``FORMATS``
    remarks: dict[str, list[Remark]]  #: on each file input, made when the payload came in


@dataclass(kw_only=True)
class Check:
    """A check under way: the values and files found so far, and every fault."""

    inputs: dict[str, Input]
    limits: ArchiveLimits | None
    largest_voxel_bytes: float
    links: Mapping[str, Sequence[str]] = field(default_factory=dict)  #: that were left out of folders of images
    as_fields: bool = False  #: the client sent a form with a field for each input, and knows no archive
    errors: list[dict[str, Any]] = field(default_factory=list)
    values: dict[str, Any] = field(default_factory=dict)
    files: dict[str, Path] = field(default_factory=dict)
    headers: dict[str, VolumeHeader] = field(default_factory=dict)
    forms: dict[str, str] = field(default_factory=dict)  #: of a NIfTI, which count when its header is checked
    chosen: dict[str, dict[str, Any]] = field(default_factory=dict)
    format: str = FORMATS[0]
    remarks: dict[str, list[Remark]] = field(default_factory=dict)

    def fault(self, code: str, detail: str, *, input: str | None = None) -> None:
        """Note a fault of an input of the service's, or of the whole payload."""
        if len(self.errors) < MOST_ERRORS:
            self.errors.append({"input": input, "code": code, "detail": detail})
        elif len(self.errors) == MOST_ERRORS:
            detail = f"There are more than {MOST_ERRORS} faults; the others are not listed."
            self.errors.append({"input": None, "code": "more-faults", "detail": detail})

    def listed_inputs(self) -> str:
        """List the service's inputs for a sentence."""
        return f"the inputs are {', '.join(list(self.inputs)[:MOST_LISTED])}" if self.inputs else "there are no inputs"


def check_payload(
    folder: Path,
    inputs: Sequence[Input],
    limits: ArchiveLimits | None = None,
    *,
    largest_voxel_bytes: float = math.inf,
    field_faults: Sequence[dict[str, Any]] | None = None,
    links: Mapping[str, Sequence[str]] | None = None,
) -> Payload:
    """Check the payload in ``folder``; raises ``PayloadRefused`` with every fault at once.

    ``limits`` are given once, when the payload came in: zip archives in it are taken apart then, and count with all
    that is there against them. No volume may have more than ``largest_voxel_bytes``. Inputs that came as fields of a
    form bring the faults that were found in these, or none: ``field_faults``. ``links`` were left out of folders of
    images, by the folder's name.
    """
    check = Check(
        inputs={declared.id: declared for declared in inputs},
        limits=limits,
        largest_voxel_bytes=largest_voxel_bytes,
        links=links or {},
        as_fields=field_faults is not None,
    )
    for fault in field_faults or ():
        known_id = known(check, fault["input"])
        check.fault(fault["code"], fault["detail"], input=known_id)
    values = read_values(check, folder / MAIN)
    check.forms = chosen_forms(check, values or {})
    check_files(check, folder)
    if values is not None:
        check_values(check, values)
    if check.format == DICOM_SEG:
        demand_series(check, folder)
    if check.errors:
        raise PayloadRefused(check.errors, inputs=len(inputs))
    if limits is not None and check.remarks:
        noted = {id: [asdict(remark) for remark in remarks] for id, remarks in check.remarks.items()}
        (folder / REMARKS).write_text(json.dumps(noted), encoding="utf-8")
    return payload_of(check)


def payload_of(check: Check) -> Payload:
    """Make the payload of a check that found what it needs."""
    return Payload(
        values=check.values,
        files=check.files,
        headers=check.headers,
        chosen=check.chosen,
        format=check.format,
        remarks=check.remarks,
    )


def find_volume(folder: Path, declared: VolumeInput) -> Payload:
    """Take one volume out of a payload that was checked when it came in; faults of other inputs are none of its.

    Raises ``PayloadRefused`` where it was not sent.
    """
    check = Check(inputs={declared.id: declared}, limits=None, largest_voxel_bytes=math.inf)
    values = read_values(check, folder / MAIN)
    check.forms = chosen_forms(check, values or {})
    check_files(check, folder)
    if values is not None:
        check_values(check, values)
    faults = [error for error in check.errors if error["input"] == declared.id]
    if faults:
        raise PayloadRefused(faults, inputs=1)
    return payload_of(check)


def check_files(check: Check, folder: Path) -> None:
    """Find each file input's one file, check it, and refuse everything else that lies there."""
    with os.scandir(folder) as entries:
        found = sorted(entries, key=lambda entry: entry.name)
    sent: dict[str, list[Path]] = {id: [] for id, declared in check.inputs.items() if isinstance(declared, VolumeInput)}
    folders = {f"file-{id}": id for id in sent}
    for name in sorted(check.links.keys() - folders.keys()):
        refuse_unknown(check, name)
    for entry in found:
        match = FILE_NAME.fullmatch(entry.name)
        id = match[1] if match and match[1] in check.inputs else None
        if entry.is_dir(follow_symlinks=False) and entry.name in folders:
            sent[folders[entry.name]].append(folder / entry.name)
        elif id in sent and entry.is_file(follow_symlinks=False):
            sent[id].append(folder / entry.name)
        elif entry.name == REMARKS and check.limits is None:
            noted = json.loads((folder / REMARKS).read_bytes())
            check.remarks = {id: [Remark(**remark) for remark in remarks] for id, remarks in noted.items()}
        elif check.as_fields and entry.name != MAIN:
            refuse_field(check, entry.name.removeprefix("file-").partition(".")[0])
        elif entry.name != MAIN or not entry.is_file(follow_symlinks=False):
            refuse_entry(check, entry, id)
    for id, paths in sent.items():
        check_file(check, check.inputs[id], paths)


def refuse_field(check: Check, id: str) -> None:
    """Note that a file came as the field of no file input."""
    if id in check.inputs:
        rule = "a file was sent; send the value itself (with curl without an @)."
        check.fault("wrong-place", f"{id}: {rule}", input=id)
    else:
        check.fault("unknown-input", f"{shown(id)} is no input of this service; {check.listed_inputs()}.")


def refuse_entry(check: Check, entry: os.DirEntry[str], id: str | None) -> None:
    """Note that an archive holds what is no file of a file input."""
    if not entry.is_file(follow_symlinks=False):
        rule = f"is no file; put {MAIN} and the files at the archive's root, in no folder (but DICOM: file-<id>/)."
        check.fault("not-a-file", f"{shown(entry.name)} {rule}", input=id)
    elif id is not None:
        rule = f"{shown(entry.name)} was sent, but the value belongs into {MAIN}."
        check.fault("wrong-place", f"{id}: {rule}", input=id)
    else:
        refuse_unknown(check, entry.name)


def refuse_unknown(check: Check, name: str) -> None:
    """Note that an archive holds what has the name of no input."""
    rule = f"is unknown; a payload has {MAIN} and file-<id>.<ext>, and {check.listed_inputs()}."
    check.fault("unknown-file", f"{shown(name)} {rule}")


def check_file(check: Check, declared: Input, paths: list[Path]) -> None:
    """Check that one file was sent for an input, and that the input takes it."""
    if not isinstance(declared, VolumeInput):
        raise TypeError(f"{declared!r} takes no file.")
    extensions = declared.extensions
    if not paths:
        if declared.required and not any(error["input"] == declared.id for error in check.errors):
            send = f"{declared.id}=@…" if check.as_fields else f"file-{declared.id}{extensions[0]}"
            rule = f"its file is missing; send {send} ({', '.join(extensions)} are taken)."
            if f"file-{declared.id}" in check.links:
                rule = "links alone were sent, and no image; pack what they lead to (tar -h)."
            check.fault("missing", f"{declared.id}: {rule}", input=declared.id)
    elif len(paths) > 1:
        sent = "two files" if check.as_fields else " and ".join(shown(path.name) for path in paths[:2])
        rule = f"{sent} were sent; send one file."
        if check.as_fields and any(path.is_dir() for path in paths):
            other = next(path.name for path in paths if not path.is_dir()).removeprefix(f"file-{declared.id}")
            rule = f"DICOM images and a file {shown(other)} were sent; leave out the one or the others."
        check.fault("two-files", f"{declared.id}: {rule}", input=declared.id)
    elif paths[0].is_file() and paths[0].name.removeprefix(f"file-{declared.id}").lower() not in extensions:
        what = "the file's name" if check.as_fields else shown(paths[0].name)
        rule = f"{what} ends in none of {', '.join(extensions)}."
        if is_image(paths[0]):
            rule = f"{what} is one DICOM image; send the images of its series as .zip."
        check.fault("extension", f"{declared.id}: {rule}", input=declared.id)
    else:
        receive_file(check, declared, paths[0])


def receive_file(check: Check, declared: VolumeInput, path: Path) -> None:
    """Check the one file, or folder of DICOM images, of an input; take a zip archive apart first."""
    remarks = []
    try:
        if check.limits is not None and path.suffix.lower() == ZIP and path.is_file():
            archive, path = path, path.with_suffix("")
            left_out = take_apart(archive, path, check.limits)
            if left_out:
                remarks.append(remark_on(left_out, "file", "of the zip archive, no DICOM"))
        if linked := check.links.get(f"file-{declared.id}"):
            remarks.append(remark_on(linked, "link", f"in file-{declared.id}/"))
        if remarks:
            check.remarks[declared.id] = remarks
        header = declared.check_file(
            path, largest_voxel_bytes=check.largest_voxel_bytes, form=check.forms.get(declared.id)
        )
    except ArchiveRefused as refusal:
        check.fault(refusal.code, f"{declared.id}: {refusal.detail}", input=declared.id)
    except InputRefused as refusal:
        check.fault(refusal.code, refusal.detail, input=declared.id)
    else:
        check.files[declared.id] = path
        if header is not None:
            check.headers[declared.id] = header


def take_apart(archive: Path, folder: Path, limits: ArchiveLimits) -> list[str]:
    """Put a folder of its images in the place of a zip archive; name what is left out. Raises ``ArchiveRefused``."""
    there = [path.stat().st_size for path in archive.parent.rglob("*") if path.is_file()]
    left = replace(
        limits,
        largest_unpacked_bytes=limits.largest_unpacked_bytes - sum(there),
        most_members=limits.most_members - len(there),
    )
    folder.mkdir(mode=0o700)
    left_out = unzip_dicom(archive, folder, left)
    archive.unlink()
    return left_out


def remark_on(left_out: Sequence[str], what: str, where: str) -> Remark:
    """Name what was left out of a series."""
    more = f" and {len(left_out) - MOST_LEFT_OUT} more" if len(left_out) > MOST_LEFT_OUT else ""
    count = f"1 {what}" if len(left_out) == 1 else f"{len(left_out)} {what}s"
    listed = ", ".join(map(shown, left_out[:MOST_LEFT_OUT]))
    return Remark("left-out", f"{count} {where}, left out: {listed}{more}.")


def read_values(check: Check, path: Path) -> dict[str, Any] | None:
    """Read the values that ``main.json`` names; ``None`` where there are none to check, which is noted."""
    text = read_text(check, path)
    if text is None:
        return None
    if nesting(text) > DEEPEST_NESTING:
        check.fault("too-deep", f"{MAIN} is nested deeper than {DEEPEST_NESTING} levels.")
        return None

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, value in pairs:
            if key in made:
                check.fault("key-twice", f"{shown(key)} stands twice in one object of {MAIN}.", input=known(check, key))
            made[key] = value
        return made

    try:
        content = json.loads(text, parse_int=integer, object_pairs_hook=unique)
    except json.JSONDecodeError as error:
        detail = f"{MAIN} is not JSON: {error.msg} (line {error.lineno}, column {error.colno})."
        check.fault("not-json", detail)
        return None
    if not isinstance(content, dict) or not isinstance(content.get("inputs"), dict):
        check.fault("no-inputs", f'{MAIN} must be {{"inputs": {{"<id>": value, ...}}}}.')
        return None
    for key in content.keys() - {"inputs", "outputs"}:
        check.fault("unknown-key", f"{shown(key)} in {MAIN} is unknown; its keys are 'inputs' and 'outputs'.")
    check_outputs(check, content.get("outputs", {}))
    values: dict[str, Any] = content["inputs"]
    return values


def check_outputs(check: Check, outputs: Any) -> None:
    """Check the format that the client wants for the result's volumes."""
    if not isinstance(outputs, dict):
        check.fault("no-outputs", f'outputs: {shown(outputs)} is no object; write {{"format": "{FORMATS[0]}"}}.')
        return
    for key in outputs.keys() - {"format"}:
        check.fault("unknown-key", f"outputs: {shown(key)} is unknown; its one key is 'format'.")
    wanted = outputs.get("format", FORMATS[0])
    if wanted in FORMATS:
        check.format = wanted
    else:
        check.fault("not-a-choice", f"outputs: the format {shown(wanted)} is none of {', '.join(FORMATS)}.")


def demand_series(check: Check, folder: Path) -> None:
    """Demand a DICOM series for a result that refers to its images; a service without volumes has no such result."""
    volumes = [id for id, declared in check.inputs.items() if isinstance(declared, VolumeInput)]
    sent = any(path.suffix.lower() == ZIP or path.is_dir() for path in folder.glob("file-*"))
    if volumes and not sent:
        rule = f"the format {DICOM_SEG} refers to DICOM images, and none was sent; send a DICOM series for"
        others = ", ".join(FORMATS[:-1])
        check.fault("no-dicom", f"outputs: {rule} {' or '.join(volumes)}, or ask for one of {others}.")


def read_text(check: Check, path: Path) -> str | None:
    """Read ``main.json`` as UTF-8; ``None`` where it is not that, which is noted."""
    if not path.is_file():
        check.fault("no-main-json", f"{MAIN} is missing at the archive's root.")
        return None
    with path.open("rb") as file:
        content = file.read(LARGEST_MAIN_BYTES + 1)
    if len(content) > LARGEST_MAIN_BYTES:
        check.fault("too-large", f"{MAIN} is larger than {LARGEST_MAIN_BYTES} bytes.")
        return None
    if content.startswith(b"\xef\xbb\xbf"):
        check.fault("byte-order-mark", f"{MAIN} begins with a byte order mark; save it as UTF-8 without one.")
        return None
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        check.fault("not-utf-8", f"{MAIN} is not UTF-8 (byte {error.start + 1}).")
        return None


def check_values(check: Check, values: dict[str, Any]) -> None:
    """Check each value by its input, fill in defaults, and note missing and unknown ones."""
    for id in values:
        if id not in check.inputs:
            check.fault("unknown-input", f"{shown(id)} is no input of this service; {check.listed_inputs()}.")
    for id, declared in check.inputs.items():
        if id in values:
            try:
                value = declared.check(values[id])
            except InputRefused as refusal:
                check.fault(refusal.code, refusal.detail, input=id)
            else:
                if isinstance(declared, VolumeInput):
                    note_choice(check, id, value)
                else:
                    check.values[id] = value
        elif isinstance(declared, VolumeInput):
            continue
        elif declared.required:
            where = "the form" if check.as_fields else MAIN
            check.fault("missing", f"{id}: its value is missing in {where}.", input=id)
        else:
            check.values[id] = declared.default


def chosen_forms(check: Check, values: dict[str, Any]) -> dict[str, str]:
    """Find which form of a NIfTI a client wants, before its header is checked by it."""
    chosen: dict[str, str] = {}
    for id, value in values.items():
        if isinstance(check.inputs.get(id), VolumeInput) and isinstance(value, dict) and value.get("form") in FORMS:
            chosen[id] = value["form"]
    return chosen


def note_choice(check: Check, id: str, chosen: dict[str, Any]) -> None:
    """Note which series of the DICOM images, and volume in it, or which form of a NIfTI, a client wants."""
    refused = any(error["input"] == id for error in check.errors)
    if "form" in chosen:
        if id not in check.headers and not refused:
            check.fault("form", f"{id}: the {chosen['form']} was chosen, but no NIfTI was sent.", input=id)
    elif id in check.headers or not (id in check.files or refused):
        check.fault("no-dicom", f"{id}: a {next(iter(chosen))} was chosen, but no DICOM images were sent.", input=id)
    check.chosen[id] = chosen


def read_value(text: str) -> Any:
    """Read a value that is sent by itself: as JSON where it is that, else as the text.

    >>> read_value("0.5"), read_value("[[1, 2, 3]]"), read_value("abc")
    (0.5, [[1, 2, 3]], 'abc')
    """
    if nesting(text) > DEEPEST_NESTING - 2:  # it stands in two objects
        return text
    try:
        return json.loads(text, parse_int=integer)
    except ValueError:
        return text


def known(check: Check, key: str) -> str | None:
    """Give a key if it is an input's id."""
    return key if key in check.inputs else None


def integer(digits: str) -> int | float:
    """Read an integer, one of absurd length as infinite, which no input takes.

    >>> integer("-12"), integer("9" * 5000)
    (-12, inf)
    """
    return int(digits) if len(digits) <= MOST_DIGITS else math.copysign(math.inf, -1 if digits[0] == "-" else 1)


def nesting(text: str) -> int:
    """Tell how deep a JSON text is nested, up to one level too deep, in one pass and without recursion.

    >>> nesting('{"inputs": {"text": "[[[[", "points": [[1, 2, 3]]}}')
    4
    """
    depth = deepest = 0
    within_text = False
    for token in NESTING_TOKEN.finditer(text):
        if token[0] == '"':
            within_text = not within_text
        elif not within_text and token[0] in "[{":
            depth += 1
            deepest = max(deepest, depth)
            if depth > DEEPEST_NESTING:
                break
        elif not within_text and token[0] in "]}":
            depth -= 1
    return deepest
