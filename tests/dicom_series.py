"""DICOM series made by code, by pydicom and encoders that are not ours, in every transfer syntax that is taken."""

import functools
import io
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import SimpleITK as sitk
from pydicom import Dataset, FileMetaDataset, config, dcmread
from pydicom.encaps import encapsulate, generate_frames
from pydicom.uid import (
    UID,
    CTImageStorage,
    DeflatedExplicitVRLittleEndian,
    EnhancedCTImageStorage,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEG2000Lossless,
    JPEGBaseline8Bit,
    JPEGLossless,
    JPEGLosslessSV1,
    JPEGLSLossless,
    RLELossless,
)

JPEG2000, JPEG_LS_NEAR = UID("1.2.840.10008.1.2.4.91"), UID("1.2.840.10008.1.2.4.81")
EXACT = {
    syntax.name: syntax
    for syntax in (
        *(ImplicitVRLittleEndian, ExplicitVRLittleEndian, DeflatedExplicitVRLittleEndian, ExplicitVRBigEndian),
        *(JPEGLossless, JPEGLosslessSV1, JPEGLSLossless, JPEG_LS_NEAR, JPEG2000Lossless, JPEG2000, RLELossless),
    )
}  #: transfer syntaxes, of which the pixels come back as they were
ITK_WORDS = {JPEG2000Lossless: "JPEG2000", JPEG2000: "JPEG2000", JPEGLossless: "JPEG", JPEGLosslessSV1: "JPEG"}
AXES = np.eye(3)
UID_ROOT = "1.2.826.0.1.3680043.10.999."


def image(pixels: np.ndarray, syntax: UID = ExplicitVRLittleEndian, **changes: Any) -> bytes:
    """Make one image of pixels (rows, columns); a change to ``None`` leaves an attribute out."""
    with config.disable_value_validation():
        made = _dataset(pixels)
        for keyword, value in changes.items():
            if value is None:
                delattr(made, keyword)
            else:
                setattr(made, keyword, value)
        _encode(made, pixels, syntax)
        file = io.BytesIO()
        made.save_as(file, enforce_file_format=True)
        return file.getvalue()


def series(
    voxels: np.ndarray, affine: np.ndarray | None = None, syntax: UID = ExplicitVRLittleEndian, **changes: Any
) -> dict[str, bytes]:
    """Make the images of a volume (i, j, k) with an affine in LPS: a file name to its bytes, in no order."""
    affine = np.eye(4) if affine is None else affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / spacing
    geometry = {
        "ImageOrientationPatient": [*map(ds, axes[:, 0]), *map(ds, axes[:, 1])],
        "PixelSpacing": [ds(spacing[1]), ds(spacing[0])],
        "SliceThickness": ds(spacing[2]),
    }
    files = {}
    for k in range(voxels.shape[2]):
        own = {
            "InstanceNumber": k + 1,
            "SOPInstanceUID": f"{UID_ROOT}3.{k + 1}",
            "ImagePositionPatient": [*map(ds, (affine @ (0, 0, k, 1))[:3])],
        }
        pixels = np.ascontiguousarray(voxels[:, :, k].T)
        files[f"IM{k * 7 % 10}{k:04}"] = image(pixels, syntax, **{**geometry, **own, **changes})
    return files


def enhanced(
    volumes: Sequence[np.ndarray],
    affine: np.ndarray | None = None,
    syntax: UID = ExplicitVRLittleEndian,
    *,
    each: Callable[[Dataset, int, int], object] = lambda *_: None,
    **changes: Any,
) -> bytes:
    """Make one enhanced image of volumes (i, j, k) at one place, their frames in no order.

    ``each`` gets the functional groups of each frame, and its volume and slice.
    """
    affine = np.eye(4) if affine is None else affine
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    axes = affine[:3, :3] / spacing
    shared = Dataset()
    shared.PlaneOrientationSequence = [item(ImageOrientationPatient=[*map(ds, axes[:, 0]), *map(ds, axes[:, 1])])]
    measures = {"PixelSpacing": [ds(spacing[1]), ds(spacing[0])], "SliceThickness": ds(spacing[2])}
    shared.PixelMeasuresSequence = [item(**measures)]
    groups, frames = [], []
    order = [(volume, k) for k in range(volumes[0].shape[2]) for volume in range(len(volumes))]
    for volume, k in sorted(order, key=lambda frame: frame[1] * 7 % 5):
        group = Dataset()
        position = [*map(ds, (affine @ (0, 0, k, 1))[:3])]
        group.PlanePositionSequence = [item(ImagePositionPatient=position)]
        group.FrameContentSequence = [item(StackID="1", InStackPositionNumber=k + 1)]
        each(group, volume, k)
        groups.append(group)
        frames.append(np.ascontiguousarray(volumes[volume][:, :, k].T))
    pixels = np.concatenate(frames)
    if syntax.is_encapsulated:
        data = encapsulate([frame(one.tobytes(), one.shape, one.dtype.name, syntax) for one in frames])
    else:
        data = pixels.tobytes()
    own = {
        "SOPClassUID": EnhancedCTImageStorage,
        "NumberOfFrames": len(frames),
        "Rows": frames[0].shape[0],
        "SharedFunctionalGroupsSequence": [shared],
        "PerFrameFunctionalGroupsSequence": groups,
        "PixelData": data,
    }
    none = dict.fromkeys(("ImageOrientationPatient", "ImagePositionPatient", "PixelSpacing", "SliceThickness"))
    return image(pixels, syntax, **none, **{**own, **changes})


def item(**attributes: Any) -> Dataset:
    """Make an item of a sequence."""
    made = Dataset()
    for keyword, value in attributes.items():
        setattr(made, keyword, value)
    return made


def zipped(files: dict[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def ds(number: float) -> str:
    """Write a number as DICOM has it: at most 16 characters."""
    return next(text for digits in range(16, 0, -1) if len(text := f"{number:.{digits}g}") <= 16)


def voxels_of(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """Make voxels (i, j, k) of 12 bits, smooth enough for every encoder."""
    noise = np.random.default_rng(seed).integers(0, 50, shape)
    return (noise + np.indices(shape).sum(axis=0) * 20).astype(np.int16)


def _dataset(pixels: np.ndarray) -> Dataset:
    made = Dataset()
    made.file_meta = FileMetaDataset()
    made.SpecificCharacterSet = "ISO_IR 100"
    made.SOPClassUID = CTImageStorage
    made.SOPInstanceUID = UID_ROOT + "3.1"
    made.Modality = "CT"
    made.SeriesDescription = "Köpf axial"
    made.PatientName = "Müller^Jane"
    made.PatientID = "4711"
    made.StudyInstanceUID = UID_ROOT + "1"
    made.SeriesInstanceUID = UID_ROOT + "2"
    made.FrameOfReferenceUID = UID_ROOT + "4"
    made.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    made.ImagePositionPatient = [0, 0, 0]
    made.PixelSpacing = [1, 1]
    made.SliceThickness = 1
    made.SamplesPerPixel = 1
    made.PhotometricInterpretation = "MONOCHROME2"
    made.Rows, made.Columns = pixels.shape
    made.BitsAllocated = made.BitsStored = pixels.dtype.itemsize * 8
    made.HighBit = made.BitsStored - 1
    made.PixelRepresentation = int(pixels.dtype.kind == "i")
    made.add_new("PixelData", "OB" if pixels.dtype.itemsize == 1 else "OW", pixels.tobytes())
    return made


def _encode(made: Dataset, pixels: np.ndarray, syntax: UID) -> None:
    """Encode the pixels, unless a change has put others, or none, in their place."""
    own = "PixelData" in made and made.PixelData == pixels.tobytes()
    made.file_meta.TransferSyntaxUID = syntax
    if not own and "NumberOfFrames" in made and syntax.is_encapsulated:
        made["PixelData"].is_undefined_length = True
    if syntax == ExplicitVRBigEndian:
        made.set_original_encoding(is_implicit_vr=False, is_little_endian=False)
        if own:
            made.PixelData = pixels.byteswap().tobytes()
    if not own or not syntax.is_encapsulated:
        return
    made.PixelData = encapsulate([frame(pixels.tobytes(), pixels.shape, pixels.dtype.name, syntax)])
    made["PixelData"].VR = "OB"
    made["PixelData"].is_undefined_length = True


@functools.cache
def frame(pixels: bytes, shape: tuple[int, int], dtype: str, syntax: UID) -> bytes:
    """Encode one image."""
    array = np.frombuffer(pixels, dtype).reshape(shape)
    if syntax == JPEGBaseline8Bit:
        buffer = io.BytesIO()
        PIL.Image.fromarray(array).save(buffer, "JPEG", quality=100)
        return buffer.getvalue()
    if syntax in ITK_WORDS:
        with tempfile.TemporaryDirectory() as folder:
            writer = sitk.ImageFileWriter()
            writer.SetImageIO("GDCMImageIO")
            writer.SetFileName(f"{folder}/x.dcm")
            writer.UseCompressionOn()
            writer.SetCompressor(ITK_WORDS[syntax])
            writer.Execute(sitk.GetImageFromArray(array))
            encoded = dcmread(f"{folder}/x.dcm")
    else:
        encoded = dcmread(io.BytesIO(image(array)))
        encoded.compress(JPEGLSLossless if syntax == JPEG_LS_NEAR else syntax, generate_instance_uid=False)
    return next(generate_frames(encoded.PixelData, number_of_frames=1))


def written(files: dict[str, bytes], folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
    return folder
