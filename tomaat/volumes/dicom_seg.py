"""Write labels as a DICOM Segmentation that refers to the images of the series on whose grid they lie.

Only words that DICOM allows are taken over from the images: a stranger's header may hold anything.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from highdicom import AlgorithmIdentificationSequence, PlanePositionSequence
from highdicom.color import CIELabColor
from highdicom.seg import Segmentation, SegmentDescription
from pydicom import Dataset, Sequence
from pydicom.config import RAISE
from pydicom.datadict import dictionary_VR, tag_for_keyword
from pydicom.sr.coding import Code as CodedConcept
from pydicom.uid import CTImageStorage, generate_uid
from pydicom.valuerep import DA, TM, format_number_as_ds, validate_value

import tomaat
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.volumes.codes import TISSUE, Code
from tomaat.volumes.dicom_source import FRAME_NUMBER, DicomSource
from tomaat.volumes.labels import Labels
from tomaat.volumes.volume import Volume

NETWORK = CodedConcept("123110", "DCM", "Artificial Intelligence")
UNKNOWN = replace(TISSUE, category=TISSUE)  #: what a label without a code shows
SERIES_NUMBER = 9000  #: behind the numbers that scanners give
LONGEST_TEXT = 64
SEXES = {"M", "F", "O"}
#: Facts about patient and study, copied from the first image.
TEXTS = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex"),
    *("StudyID", "StudyDate", "StudyTime", "StudyDescription", "AccessionNumber", "ReferringPhysicianName"),
    "PositionReferenceIndicator",
)


def source_images(volume: Volume) -> list[Dataset]:
    """Describe the images of a series, as far as a segmentation refers to them.

    Raises ``VolumeRefused`` where the images do not say which they are.
    """
    source = volume.dicom or DicomSource(headers=())
    images = [_image(header, volume) for header in source.headers]
    if not images or len({image.SOPInstanceUID for image in images}) != len(images):
        raise VolumeRefused("no-identity", "The images do not have one SOPInstanceUID each; a result cannot name them.")
    for keyword in TEXTS:
        setattr(images[0], keyword, _text(source.headers[0], keyword))
    if images[0].PatientSex not in SEXES:
        images[0].PatientSex = ""
    frame = _text(source.headers[0], "FrameOfReferenceUID")
    for image in images:
        image.StudyInstanceUID, image.SeriesInstanceUID = images[0].StudyInstanceUID, images[0].SeriesInstanceUID
        # Images without a frame of reference share at least the series' own.
        image.FrameOfReferenceUID = frame or generate_uid(entropy_srcs=[images[0].SeriesInstanceUID])
    return images


def write_dicom_seg(labels: Labels, series: Volume, path: Path, facts: Mapping[str, Any]) -> None:
    """Write one Segmentation; segment n is the n-th label by value. ``labels`` come from ``onto(series)``.

    ``facts`` has the ``service``, its ``version`` and the ``compute_source``. It may have ``weights_sha256``, and by
    their names the versions of ``packages``, which become the algorithm's parameters. Source: DICOM PS3.3, A.51 and
    C.8.20.
    Raises ``VolumeRefused`` as ``source_images`` does, ``OSError`` where the disk is full.
    """
    description = _shortened(f"{facts['service']}: {path.stem}")
    images = source_images(series)
    values = sorted(labels.names)
    numbers = np.zeros(values[-1] + 1, np.uint8 if len(values) <= np.iinfo(np.uint8).max else np.uint16)
    numbers[values] = np.arange(1, len(values) + 1)
    planes = numbers[_on_images(labels.volume.array, series)]
    positions = None  # the images' own
    if not planes.any():  # a frame is needed, and one per label is enough
        planes, positions = planes[:1], [PlanePositionSequence("PATIENT", images[0].ImagePositionPatient)]
    algorithm = AlgorithmIdentificationSequence(
        name=_shortened(facts["service"]),
        family=NETWORK,
        version=_shortened(facts["version"]),
        parameters={**_weights_of(facts), **facts.get("packages", {})} or None,
    )
    segments = [
        SegmentDescription(
            segment_number=number,
            segment_label=_shortened(labels.names[value]),
            segmented_property_category=_concept(code.kind),
            segmented_property_type=_concept(code),
            algorithm_type="AUTOMATIC",
            algorithm_identification=algorithm,
            display_color=CIELabColor.from_rgb(*labels.color(value)),
        )
        for number, value in enumerate(values, 1)
        for code in [labels.codes.get(value, UNKNOWN)]
    ]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # they quote a patient's name that is no family name and given name
        made = Segmentation(
            source_images=images,
            pixel_array=planes,
            segmentation_type="BINARY",
            segment_descriptions=segments,
            plane_positions=positions,
            series_instance_uid=generate_uid(),
            series_number=SERIES_NUMBER,
            series_description=description,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="TOMAAT",
            manufacturer_model_name=_shortened(facts["service"]),
            software_versions=tomaat.__version__,
            device_serial_number=_shortened(facts["compute_source"]),
            content_label="SEGMENTATION",
            content_description=description,
            specific_character_set="ISO_IR 192",
        )
        headers = series.dicom.headers if series.dicom else ()
        _refer_to_frames(made, {_uid_of(header): header for header in headers if FRAME_NUMBER in header})
        made.save_as(path)


def _weights_of(facts: Mapping[str, Any]) -> dict[str, str]:
    sha256 = facts.get("weights_sha256")
    return {} if sha256 is None else {"weights SHA-256": sha256}


def _on_images(array: np.ndarray[Any, Any], series: Volume) -> np.ndarray[Any, Any]:
    """Give voxels (i, j, k) as the images' pixels (k, j, i), those of an even grid by the nearest one."""
    planes = array.transpose(2, 1, 0)
    own = series.dicom.own if series.dicom else None
    if own is None:
        return np.ascontiguousarray(planes)
    made = np.empty((len(own.places), own.rows, own.columns), array.dtype)
    for image, place in zip(made, own.places, strict=True):
        i, j, k = (round(begin) for begin in place)
        image[:] = planes[k, j : j + own.rows, i : i + own.columns]
    return made


def _concept(code: Code) -> CodedConcept:
    return CodedConcept(code.value, code.scheme, code.meaning)


def _refer_to_frames(made: Dataset, frames: Mapping[str, Mapping[str, Any]]) -> None:
    """Let what stands for a frame refer to the enhanced image that has it, and to its number."""
    for element in made if frames else ():
        if element.VR != "SQ":
            continue
        kept: dict[tuple[Any, ...], Dataset] = {}
        for place, item in enumerate(element.value):
            key: tuple[Any, ...] = (place,)
            frame = frames.get(item.get("ReferencedSOPInstanceUID", ""))
            if frame is not None:
                item.ReferencedSOPClassUID = _text(frame, "SOPClassUID")
                item.ReferencedSOPInstanceUID = _text(frame, "SOPInstanceUID")
                key = (item.ReferencedSOPInstanceUID, None)
                if element.keyword == "SourceImageSequence":
                    item.ReferencedFrameNumber = frame[FRAME_NUMBER]["Value"][0]
                    key = (item.ReferencedSOPInstanceUID, item.ReferencedFrameNumber)
            _refer_to_frames(item, frames)
            kept.setdefault(key, item)
        element.value = Sequence(kept.values())


def _uid_of(header: Mapping[str, Any]) -> str:
    """Give an image's UID; a frame gets one of its own meanwhile, since highdicom knows each slice by its UID."""
    uid = _text(header, "SOPInstanceUID")
    number = header.get(FRAME_NUMBER, {}).get("Value")
    return str(generate_uid(entropy_srcs=[uid, str(number)])) if uid and number else uid


def _image(header: Mapping[str, Any], volume: Volume) -> Dataset:
    image = Dataset()
    for keyword in ("StudyInstanceUID", "SeriesInstanceUID", "SOPClassUID", "SOPInstanceUID"):
        uid = _uid_of(header) if keyword == "SOPInstanceUID" else _text(header, keyword)
        if not uid:
            raise VolumeRefused("no-identity", f"An image has no valid {keyword}; a result cannot refer to it.")
        setattr(image, keyword, uid)
    if FRAME_NUMBER in header:
        image.SOPClassUID = CTImageStorage  # else highdicom wants the whole image
    own = volume.dicom.own if volume.dicom else None
    image.Columns, image.Rows = (own.columns, own.rows) if own else volume.array.shape[:2]
    image.PixelSpacing = [format_number_as_ds(volume.spacing_mm[axis]) for axis in (1, 0)]
    image.SliceThickness = format_number_as_ds(volume.spacing_mm[2])
    if own is None:
        image.SpacingBetweenSlices = image.SliceThickness
    axes = [row[axis] for axis in (0, 1) for row in volume.direction]
    image.ImageOrientationPatient = [format_number_as_ds(float(cosine)) for cosine in axes]
    place = header[_tag("ImagePositionPatient")]["Value"]
    image.ImagePositionPatient = [format_number_as_ds(float(coordinate)) for coordinate in place]
    return image


def _text(header: Mapping[str, Any], keyword: str) -> str:
    """Give a text of a header in the DICOM JSON Model; characters that DICOM does not allow there are left out."""
    vr = dictionary_VR(keyword)
    value = (header.get(_tag(keyword), {}).get("Value") or [""])[0] or ""
    if isinstance(value, Mapping):  # a person's name
        value = "=".join(value.get(part, "") for part in ("Alphabetic", "Ideographic", "Phonetic")).rstrip("=")
    text = str(value)
    try:
        validate_value(vr, text, RAISE)
        {"DA": DA, "TM": TM}.get(vr, str)(text)
    except ValueError:
        return ""
    return text


def _tag(keyword: str) -> str:
    return f"{tag_for_keyword(keyword):08X}"


def _shortened(text: str) -> str:
    """Make a text one that DICOM takes; a backslash would part it in two."""
    return text.replace("\\", "/")[:LONGEST_TEXT]
