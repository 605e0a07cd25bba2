"""Turn the values that a user gives for a service's inputs into a payload.

Texts become the values that the input's type asks for, paths become members of the archive. Numbers, their ranges and
choices are checked here too, before a scan leaves the machine; only the server judges images.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tomaat.client.dicom_folder import DicomFolder, look_through
from tomaat.client.errors import Refused
from tomaat.client.label import label_of, name_of_path
from tomaat.client.payload import Payload, listed

TEXTS = {"str", "singlechoice"}  #: types whose values are texts
NUMBERS = {"float": "a number", "int": "a whole number"}
MOST_SHOWN = 20  #: choices that a fault repeats
YES_OR_NO = {"true": True, "yes": True, "false": False, "no": False}
FOLDER_EXTENSION = ".zip"  #: an input that takes a zip of DICOM files takes a folder of them too
CHOICES = {
    "series": (FOLDER_EXTENSION, "the UID of a series"),
    "volume": (FOLDER_EXTENSION, "the number of a volume in the series"),
    "form": (".nii", "sform or qform"),
}  #: behind the id of a volume and a dot: with which extension it can be chosen, and what to give


class _Fault(Exception):
    """An input cannot be sent as it was given."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def arrange(
    service: str,
    interface: Mapping[str, Mapping[str, Any]],
    given: Mapping[str, Any],
    format: str | None = None,
    label: str | None = None,
) -> Payload:
    """Make the payload of a request; raises ``Refused`` with every fault. An input given as ``None`` is left out.

    Without a ``label`` it has the name of its first file or folder.

    Beside an input ``scan`` that takes DICOM, ``scan.series`` is the UID of the one series that is meant, and
    ``scan.volume`` the number of one of several volumes in it; where it takes NIfTI, ``scan.form`` is ``sform`` or
    ``qform``, the one of its two places.
    """
    ids = ", ".join(interface) or "there are none"
    choices = {
        f"{id}.{which}": (id, which)
        for id, declared in interface.items()
        for which, (extension, _) in CHOICES.items()
        if extension in (declared.get("extensions") or ())
    }
    left_out: dict[str, list[str]] = {}
    errors: list[dict[str, Any]] = [
        {"input": None, "code": "unknown-input", "detail": f"{id!r} is no input of {service}; its inputs: {ids}."}
        for id in given
        if id not in interface and id not in choices
    ]
    values: dict[str, Any] = {}
    for name, (id, which) in choices.items():
        if name in given:
            values.setdefault(id, {})[which] = (
                _parsed("int", str(given[name])) if which == "volume" else str(given[name])
            )
    files: list[tuple[str, Path]] = []
    for id, declared in interface.items():
        try:
            if given.get(id) is None:
                demand_optional(declared)
            elif declared["store"] == "file":
                files += members(declared, given[id], left_out)
            else:
                values[id] = allowed(declared, as_json(declared, given[id]))
        except _Fault as fault:
            errors.append({"input": id, "code": fault.code, "detail": str(fault)})
    errors += [
        {
            "input": choices[name][0],
            "code": "empty",
            "detail": f"{name}: it is empty; give {CHOICES[choices[name][1]][1]}, or leave it out.",
        }
        for name, value in given.items()
        if name in choices and value == ""
    ]
    if errors:
        raise Refused("The inputs were refused; nothing was sent.", {"errors": errors})
    content: dict[str, Any] = {"inputs": values}
    if format is not None:
        content["outputs"] = {"format": format}
    if label is None:
        paths = [given[id] for id, declared in interface.items() if declared["store"] == "file" and given.get(id)]
        label = name_of_path(expanded(paths[0])) if paths else ""
    main = json.dumps(content, sort_keys=True).encode()
    return Payload(service, main, tuple(files), left_out, label_of(label))


def demand_optional(declared: Mapping[str, Any]) -> None:
    """Raise the fault of an input that was left out and must not be."""
    if declared["required"]:
        raise _Fault("missing", f"{declared['id']}: it is missing ({declared['name']}).")


def takes_folders(declared: Mapping[str, Any]) -> bool:
    """Tell whether an input takes a folder of DICOM files."""
    return FOLDER_EXTENSION in (declared.get("extensions") or ())


def members(declared: Mapping[str, Any], value: Any, left_out: dict[str, list[str]]) -> list[tuple[str, Path]]:
    """Name the members for a file, or for a folder of DICOM files, and note which others are ``left_out`` of it."""
    id, extensions = declared["id"], list(declared.get("extensions") or [])
    try:
        text = expanded(value)
    except TypeError:
        raise _Fault("not-a-path", f"{id}: {type(value).__name__} is no path; give the path of a file.") from None
    if not text:  # which would mean the current folder
        raise _Fault("empty", f"{id}: its path is empty; give the path of a file.")
    path = Path(text)
    if path.is_dir():
        if not takes_folders(declared):
            raise _Fault("not-a-file", f"{id}: {path} is a folder; {_taken(extensions)}.")
        there = look_through(path)
        demand_images(id, path, there)
        left_out[id] = there.left_out
        return [(f"file-{id}/{number:05}.dcm", each) for number, each in enumerate(there.images, start=1)]
    if not path.is_file():
        raise _Fault("no-such-file", f"{id}: there is no file {path}.")
    return [(f"file-{id}{extension_of(path, extensions) or _no_extension(id, path, extensions)}", path)]


def expanded(path: str | os.PathLike[str]) -> str:
    """Put in the home folder for a ``~`` in front, which a shell leaves in place behind ``scan=``."""
    return os.path.expanduser(path)  # noqa: PTH111 (a folder may be called so, which is no error here)


def extension_of(path: Path, extensions: Sequence[str]) -> str | None:
    """Find the longest of the extensions that a file has, in upper or lower case."""
    fitting = [extension for extension in extensions if path.name.lower().endswith(extension)]
    return max(fitting, key=len, default=None)


def demand_images(id: str, folder: Path, there: DicomFolder) -> None:
    """Raise the fault of a folder without DICOM files, or with what may be a broken one: a slice would be lost."""
    if there.doubtful:
        count = len(there.doubtful)
        what = (
            f"{count} file{'' if count == 1 else 's'} of {folder} may be an image that is broken (empty, or no DICOM)"
        )
        remedy = "Copy the series again from its source, or take out what is no image."
        raise _Fault("not-dicom", f"{id}: {what}: {listed(there.doubtful)}. {remedy}")
    if not there.images:
        raise _Fault("no-dicom", f"{id}: there is no DICOM file in {folder}.")


def as_json(declared: Mapping[str, Any], value: Any) -> Any:
    """Make the JSON value of an input from a Python value, or from a text as a command line has it.

    >>> as_json({"id": "p", "type": "pointlist"}, "1,2,3; 4,5,6")
    [[1, 2, 3], [4, 5, 6]]
    >>> as_json({"id": "b", "type": "boolean"}, "yes"), as_json({"id": "s", "type": "str"}, "yes")
    (True, 'yes')
    """
    if isinstance(value, str):
        if not value and declared["type"] not in TEXTS | NUMBERS.keys():
            raise _Fault("empty", f"{declared['id']}: its value is empty; give one, or leave it out.")
        return value if declared["type"] in TEXTS else _parsed(declared["type"], value)
    if hasattr(value, "tolist"):  # an array, or a number out of one
        value = value.tolist()
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError, RecursionError):
        raise _Fault("not-json", f"{declared['id']}: {value!r:.80} cannot be written as JSON.") from None
    return value


def allowed(declared: Mapping[str, Any], value: Any) -> Any:
    """Give a value back that is a number within its range, or one of its choices, where the input says so."""
    id = declared["id"]
    kind = NUMBERS.get(declared["type"])
    if kind is not None:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise _Fault("not-a-number", f"{id}: {value!r:.80} is not {kind}.")
        low, high = declared.get("minimum"), declared.get("maximum")
        if (low is not None and value < low) or (high is not None and value > high):
            limits = f"outside {low:g} to {high:g}" if None not in {low, high} else f"not {_bound(low, high)}"
            unit = declared.get("unit")
            raise _Fault("out-of-range", f"{id}: {value} is {limits}{f' {unit}' if unit else ''}.")
    choices = declared.get("choices")
    if choices and value not in choices:
        more = f" and {len(choices) - MOST_SHOWN} more" if len(choices) > MOST_SHOWN else ""
        raise _Fault("not-a-choice", f"{id}: {value!r:.80} is none of {', '.join(choices[:MOST_SHOWN])}{more}.")
    return value


def _bound(low: float | None, high: float | None) -> str:
    return f"at least {low:g}" if high is None else f"at most {high:g}"


def _parsed(type: str, text: str) -> Any:
    if type == "boolean" and text.lower() in YES_OR_NO:
        return YES_OR_NO[text.lower()]
    if type == "pointlist" and not text.lstrip().startswith("["):
        text = f"[{','.join(f'[{point}]' for point in text.split(';'))}]"
    try:
        return json.loads(text, parse_constant=str)
    except ValueError:
        return text


def _taken(extensions: Sequence[str]) -> str:
    return f"it takes {', '.join(extensions)}" if extensions else "it takes files"


def _no_extension(id: str, path: Path, extensions: Sequence[str]) -> str:
    if not extensions:
        return "".join(path.suffixes[-2:])
    raise _Fault("extension", f"{id}: {path} has a wrong extension; {_taken(extensions)}.")
