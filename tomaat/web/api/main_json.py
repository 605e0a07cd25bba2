"""How a service's inputs are described: as fields of a form, and as a payload's main.json."""

from __future__ import annotations

from collections.abc import Mapping

from Inputs import VolumeInput
from tomaat.services.payload import FORMATS
from tomaat.web.api.fields import OUTPUT_FORMAT
from tomaat.web.api.form import LABEL, PRIORITY
from tomaat.web.api.label import LABEL_SCHEMA
from tomaat.web.api.priority import PRIORITY_SCHEMA
from tomaat.web.api.shapes import DescribedInput
from tomaat.web.http.shapes import Json

SERIES_UID: Json = {"type": "string", "pattern": "^[0-9.]{1,64}$"}
NIFTI_FORM: Json = {"type": "string", "enum": list(VolumeInput.forms)}
VOLUME_NUMBER: Json = {"type": "integer", "minimum": 1}
FORMAT: Json = {"type": "string", "enum": list(FORMATS), "default": FORMATS[0]}
FILES: Json = {
    "type": "array",
    "minItems": 1,
    "items": {"type": "string", "contentMediaType": "application/octet-stream"},
}
JSON_TYPES: dict[str, Json] = {
    "float": {"type": "number"},
    "int": {"type": "integer"},
    "str": {"type": "string"},
    "singlechoice": {"type": "string"},
    "boolean": {"type": "boolean"},
    "pointlist": {
        "type": "array",
        "items": {"type": "array", "items": {"type": "number"}, "minItems": 3, "maxItems": 3},
    },
    "volume": {
        "type": "object",
        "description": "Chooses one of several DICOM series, and of its volumes, or one of the two places that a NIfTI "
        "names; the volume itself is a file.",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {"series": SERIES_UID, "volume": VOLUME_NUMBER, "form": NIFTI_FORM},
    },
}
RULES = {
    "minimum": "minimum",
    "maximum": "maximum",
    "choices": "enum",
    "longest": "maxLength",
    "fewest": "minItems",
    "most": "maxItems",
    "default": "default",
}
OUTPUTS: Json = {
    "type": "object",
    "description": "In which format the result's volumes come; seg.nrrd opens in 3D Slicer as a segmentation, "
    "dicom-seg refers to the images of a DICOM series that was sent.",
    "additionalProperties": False,
    "properties": {"format": FORMAT},
}


def main_schema(interface: Mapping[str, DescribedInput]) -> Json:
    """Describe the main.json of a service."""
    inputs: Json = {
        "type": "object",
        "additionalProperties": False,
        "required": [id for id, each in interface.items() if each["required"] and each["store"] == "mainjson"],
        "properties": {id: _value_schema(each) for id, each in interface.items()},
    }
    files = [
        f"file-{id} ({', '.join(each['extensions'])}, or a folder of DICOM images)"
        for id, each in interface.items()
        if each["store"] == "file"
    ]
    return {
        "type": "object",
        "description": f"Beside main.json: {', '.join(files) or 'no files'}.",
        "required": ["inputs"],
        "additionalProperties": False,
        "properties": {"inputs": inputs, "outputs": OUTPUTS},
    }


def form_schema(service: str, interface: Mapping[str, DescribedInput]) -> Json:
    """Describe the form that asks for a service with a field for each input."""
    fields: dict[str, Json] = {
        "service": {"const": service},
        LABEL: LABEL_SCHEMA,
        PRIORITY: PRIORITY_SCHEMA,
    }
    for id, each in interface.items():
        if each["store"] == "file":
            endings = ", ".join(each["extensions"])
            fields[id] = FILES | {"title": each["name"], "description": f"{endings}; or the images of a DICOM series."}
            fields[f"{id}.series"] = {**SERIES_UID, "description": f"Chooses one of several DICOM series of {id}."}
            which = f"Chooses one of several volumes in the DICOM series of {id}."
            fields[f"{id}.volume"] = {**VOLUME_NUMBER, "description": which}
            fields[f"{id}.form"] = {**NIFTI_FORM, "description": f"Chooses which form of a NIfTI places {id}."}
        else:
            fields[id] = _value_schema(each)
    return {
        "type": "object",
        "description": "A list is sent as JSON.",
        "required": ["service", *(id for id, each in interface.items() if each["required"])],
        "additionalProperties": False,
        "properties": {**fields, OUTPUT_FORMAT: FORMAT},
    }


def _value_schema(described: DescribedInput) -> Json:
    rules = {RULES[name]: value for name, value in described.items() if name in RULES and value is not None}
    title = f"{described['name']} ({described['unit']})" if described.get("unit") else described["name"]
    return {**JSON_TYPES[described["type"]], "title": title, **rules}
