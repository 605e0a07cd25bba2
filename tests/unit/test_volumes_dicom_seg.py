"""A DICOM Segmentation: each label where it lies in the patient, named, of the very images that were sent."""

import random
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import highdicom
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from pydicom.uid import generate_uid

from tests.dicom_seg import complaints, marks
from tomaat.headers import VolumeRefused
from tomaat.services.outputs import choose_segmented, write_outputs
from tomaat.volumes import Code, Labels, Volume
from tomaat.volumes.dicom_seg import write_dicom_seg
from tomaat.volumes.dicom_source import FRAME_NUMBER, DicomSource, OwnImages

WITHIN_MM = 0.001
FACTS = {"service": "LiverSegmentation", "version": "1.2", "compute_source": "here/GPU-0c1d"}
CT, MR = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.4"
PATIENT = {
    "PatientName": "Müller^Jörg",
    "PatientID": "4711",
    "PatientBirthDate": "19420817",
    "PatientSex": "M",
    "StudyDate": "20200131",
    "StudyTime": "101112.5",
    "StudyID": "S1",
    "StudyDescription": "Abdomen",
    "AccessionNumber": "A1",
    "ReferringPhysicianName": "Doe^Jane",
}
REPOSITORY = Path(__file__).resolve().parents[2]


def header(position_mm, sop_class=CT, **texts):
    """Describe one image as pydicom does."""
    image = pydicom.Dataset()
    image.update({"SOPClassUID": sop_class, "SOPInstanceUID": generate_uid(), "Modality": "CT"})
    for keyword, value in texts.items():
        setattr(image, keyword, value)
    image.ImagePositionPatient = [round(coordinate, 9) for coordinate in position_mm]
    return image.to_json_dict()


def series(number=0, shape=None, sop_class=CT, **texts):
    """Make a series as it was read, oblique, or along the patient's axes, turned and flipped; k is i x j."""
    chosen = random.Random(number)
    axes = np.linalg.qr(np.array([[chosen.gauss(0, 1) for _ in range(3)] for _ in range(3)]))[0]
    if number % 2:
        axes = np.eye(3)[chosen.sample(range(3), 3)] * [chosen.choice((-1, 1)) for _ in range(3)]
    axes[:, 2] = np.cross(axes[:, 0], axes[:, 1])
    shape = shape or tuple(chosen.randint(1 if axis == 2 else 2, 9) for axis in range(3))
    volume = Volume(
        array=np.zeros(shape, np.int16),
        spacing_mm=tuple(chosen.choice((0.1, 0.5, 0.7421875, 1.0, 3.3, 10.0)) for _ in range(3)),
        origin_mm=tuple(chosen.uniform(-2000, 2000) for _ in range(3)),
        direction=tuple(map(tuple, axes.tolist())),
    )
    identity = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    identity |= {"FrameOfReferenceUID": generate_uid()} | texts
    headers = [header(volume.to_physical((0, 0, k)), sop_class, **identity) for k in range(shape[2])]
    return replace(volume, dicom=DicomSource(headers=tuple(headers)))


def marked(scan, marks, names=None):
    """Mark voxels of a series: values to indices."""
    array = np.zeros(scan.array.shape, np.uint16)
    for value, index in marks.items():
        array[tuple(index)] = value
    return Labels(volume=scan.like(array), names=names or {value: f"label {value}" for value in marks})


def written(scan, labels, tmp_path):
    write_dicom_seg(labels.onto(scan), scan, tmp_path / "liver.dcm", FACTS)
    return pydicom.dcmread(tmp_path / "liver.dcm")


def test_the_weights_and_the_versions_that_made_it_stand_beside_the_algorithm(tmp_path):
    scan = series(1)
    labels = marked(scan, {1: (0, 0, 0), 2: (1, 0, 0)}).onto(scan)
    facts = FACTS | {"weights_sha256": "0c1d" * 16, "packages": {"nnunetv2": "2.8.1", "torch": "2.13.0"}}
    for given, told in ((facts, f"weights SHA-256={'0c1d' * 16},nnunetv2=2.8.1,torch=2.13.0"), (FACTS, None)):
        write_dicom_seg(labels, scan, tmp_path / "two.dcm", given)
        for segment in pydicom.dcmread(tmp_path / "two.dcm").SegmentSequence:
            (algorithm,) = segment.SegmentationAlgorithmIdentificationSequence
            assert algorithm.get("AlgorithmParameters") == told


def in_order(places):
    """Sort points, those that are next to equal in x by y, and so on."""
    return np.array(sorted((tuple(place) for place in places), key=lambda place: tuple(np.round(place, 3) + 0.0)))


@pytest.mark.parametrize("number", range(30))
def test_a_marked_voxel_is_found_at_its_place_in_the_very_image(number, tmp_path):
    scan = series(number)
    chosen = random.Random(number)
    indices = chosen.sample(list(np.ndindex(scan.array.shape)), 2)
    made = written(scan, marked(scan, {7: indices[0], 300: indices[1]}), tmp_path)
    places = marks(made)
    assert [segment for segment, _, _ in places] == [1, 2]
    for (_, place, image), index in zip(places, indices, strict=True):
        assert np.abs(place - scan.to_physical(index)).max() <= WITHIN_MM
        assert image == scan.dicom.headers[index[2]]["00080018"]["Value"][0]


@pytest.mark.parametrize("number", range(6))
def test_other_programs_find_the_voxels_in_the_same_places(number, tmp_path):
    """ITK, which sees no segments (and misreads the end where pixels fill no whole bytes), and highdicom's reading."""
    scan = series(number, (8, 7, 5))
    inside = [(i, j, k) for i in range(1, 4) for j in range(2, 4) for k in range(1, 4)]
    array = np.zeros(scan.array.shape, bool)
    array[tuple(np.transpose(inside))] = True
    written(scan, Labels(volume=scan.like(array), names={1: "liver"}), tmp_path)
    expected = in_order(scan.to_physical(index) for index in inside)
    image = sitk.ReadImage(str(tmp_path / "liver.dcm"))
    voxels = np.argwhere(sitk.GetArrayFromImage(image))[:, ::-1].tolist()
    places = [image.TransformIndexToPhysicalPoint(index) for index in voxels]
    assert np.abs(in_order(places) - expected).max() <= WITHIN_MM
    volume = highdicom.seg.segread(tmp_path / "liver.dcm").get_volume(combine_segments=True)
    places = volume.map_indices_to_reference(np.argwhere(volume.array))
    assert np.abs(in_order(places) - expected).max() <= WITHIN_MM


def test_the_file_says_who_made_what_of_whom(tmp_path):
    scan = series(**PATIENT)
    labels = marked(scan, {2: (0, 0, 0), 9: (1, 1, 0)}, {2: "Leber / 肝臓", 9: "left\\right", 11: "aorta"})
    made = written(scan, labels, tmp_path)
    first = pydicom.Dataset.from_json(scan.dicom.headers[0])
    for keyword in [element.keyword for element in first if element.keyword.startswith(("Patient", "Study"))]:
        assert made[keyword].value == first[keyword].value, keyword
    assert made.AccessionNumber == "A1"
    assert made.FrameOfReferenceUID == first.FrameOfReferenceUID
    assert (made.Manufacturer, made.ManufacturerModelName) == ("TOMAAT", "LiverSegmentation")
    assert made.SeriesDescription == "LiverSegmentation: liver"
    assert made.DeviceSerialNumber == "here/GPU-0c1d"
    assert made.SeriesInstanceUID != first.SeriesInstanceUID
    (referenced,) = made.ReferencedSeriesSequence
    assert referenced.SeriesInstanceUID == first.SeriesInstanceUID
    uids = [one.ReferencedSOPInstanceUID for one in referenced.ReferencedInstanceSequence]
    assert uids == [one["00080018"]["Value"][0] for one in scan.dicom.headers]
    segments = [(one.SegmentNumber, one.SegmentLabel) for one in made.SegmentSequence]
    assert segments == [(1, "Leber / 肝臓"), (2, "left/right"), (3, "aorta")]
    for segment, value in zip(made.SegmentSequence, sorted(labels.names), strict=True):
        assert (segment.SegmentAlgorithmType, segment.SegmentAlgorithmName) == ("AUTOMATIC", "LiverSegmentation")
        assert segment.SegmentationAlgorithmIdentificationSequence[0].AlgorithmVersion == "1.2"
        color = highdicom.color.CIELabColor.from_dicom_value(segment.RecommendedDisplayCIELabValue)
        assert np.abs(np.subtract(color.to_rgb(), labels.color(value))).max() <= 1


def test_a_label_is_coded_as_its_task_says_and_as_tissue_where_it_says_nothing(tmp_path):
    scan = series(**PATIENT)
    lesion = Code("52988006", "SCT", "Lesion", category=Code("49755003", "SCT", "Morphologically Abnormal Structure"))
    codes = {2: Code("10200004", "SCT", "Liver"), 9: lesion}
    found = marked(scan, {2: (0, 0, 0), 9: (1, 1, 0)}, {2: "liver", 9: "lesion", 11: "something"})
    made = written(scan, replace(found, codes=codes), tmp_path)
    kinds = [
        [
            (word.CodeValue, word.CodingSchemeDesignator, word.CodeMeaning)
            for (word,) in (one.SegmentedPropertyCategoryCodeSequence, one.SegmentedPropertyTypeCodeSequence)
        ]
        for one in made.SegmentSequence
    ]
    assert kinds == [
        [("91723000", "SCT", "Anatomical Structure"), ("10200004", "SCT", "Liver")],
        [("49755003", "SCT", "Morphologically Abnormal Structure"), ("52988006", "SCT", "Lesion")],
        [("85756007", "SCT", "Tissue"), ("85756007", "SCT", "Tissue")],
    ]
    assert complaints(tmp_path / "liver.dcm") == []


def test_each_file_is_a_series_of_its_own(tmp_path):
    scan = series()
    labels = marked(scan, {1: (0, 0, 0)})
    one, other = written(scan, labels, tmp_path), written(scan, labels, tmp_path)
    assert one.SeriesInstanceUID != other.SeriesInstanceUID
    assert one.SOPInstanceUID != other.SOPInstanceUID


@pytest.mark.parametrize(
    ("scan", "labels"),
    [
        pytest.param(series(**PATIENT), {1: (0, 0, 0)}, id="one label"),
        pytest.param(
            series(1, (5, 5, 5), **PATIENT), {3: (0, 1, 2), 70: (1, 1, 1), 65535: (2, 2, 4)}, id="gaps between values"
        ),
        pytest.param(
            series(2, (5, 5, 5), **PATIENT), {n + 1: (n // 25, n // 5 % 5, n % 5) for n in range(120)}, id="120 labels"
        ),
        pytest.param(series(3, (5, 5, 5), **PATIENT), {}, id="nothing found"),
        pytest.param(series(4, (9, 3, 1), **PATIENT), {2: (8, 2, 0)}, id="one slice"),
        pytest.param(series(5, (1, 1, 1), **PATIENT), {2: (0, 0, 0)}, id="one voxel"),
        pytest.param(series(6, sop_class=MR, **PATIENT), {2: (0, 0, 0)}, id="an MRI"),
        pytest.param(series(7), {2: (0, 0, 0)}, id="images that name no patient"),
    ],
)
def test_a_validator_finds_nothing_to_complain_of(scan, labels, tmp_path):
    names = {value: f"label {value}" for value in labels} | {65534: "never there"}
    made = written(scan, marked(scan, labels, names), tmp_path)
    assert len(made.SegmentSequence) == len(names)
    assert complaints(tmp_path / "liver.dcm") == []


def test_nothing_found_takes_one_frame_for_each_label(tmp_path):
    scan = series(1, (5, 5, 5))
    made = written(scan, marked(scan, {}, {1: "liver", 2: "spleen"}), tmp_path)
    assert made.NumberOfFrames == 2
    assert not made.pixel_array.any()


def test_what_dicom_does_not_allow_is_left_out(tmp_path, capfd, caplog, recwarn):
    """And is quoted nowhere: it may be a patient's name."""
    scan = series(PatientName="Canary", PatientID="Canary" * 20)
    for one in scan.dicom.headers:
        one["00100030"] = {"vr": "DA", "Value": ["20200231Canary"]}
        one["00080030"] = {"vr": "TM", "Value": ["99Canary"]}
        one["00100040"] = {"vr": "CS", "Value": ["CANARY"]}
        one["00080050"] = {"vr": "SH"}
        one["00200052"] = {"vr": "UI", "Value": ["Canary"]}
    made = written(scan, marked(scan, {1: (0, 0, 0)}), tmp_path)
    assert made.PatientName == "Canary"
    assert [made.PatientID, made.PatientBirthDate, made.StudyTime, made.PatientSex, made.AccessionNumber] == [""] * 5
    assert made.FrameOfReferenceUID.is_valid
    assert "canary" not in "".join([*capfd.readouterr(), caplog.text, *(str(one.message) for one in recwarn)]).lower()
    again = written(scan, marked(scan, {1: (0, 0, 0)}), tmp_path)
    assert again.FrameOfReferenceUID == made.FrameOfReferenceUID


@pytest.mark.parametrize(
    ("tag", "value", "rule"),
    [
        ("00080018", None, "no valid SOPInstanceUID"),
        ("00080018", "1.2.03", "no valid SOPInstanceUID"),
        ("00080018", "1.2.3", "one SOPInstanceUID each"),
        ("0020000D", "", "no valid StudyInstanceUID"),
        ("00080016", "CT", "no valid SOPClassUID"),
    ],
)
def test_images_without_identity_are_refused_before_a_task_performs(tag, value, rule):
    scan = series(3, (2, 2, 3))
    for one in scan.dicom.headers:
        one[tag] = {"vr": "UI", "Value": [value]}
    with pytest.raises(VolumeRefused, match=rule):
        choose_segmented([scan], "dicom-seg")


def test_a_result_has_it_beside_what_other_formats_have(tmp_path):
    """Labels on another grid come onto the series'; a volume that is no labels is written as NIfTI."""
    scan = series(1, (8, 9, 7))
    labels = marked(scan, {2: (1, 2, 3)}, {2: "left", 5: "right"})
    turned = Labels(volume=labels.volume.reoriented("SAR"), names=labels.names)
    outputs = {"liver": turned, "scan": scan}
    written = write_outputs(outputs, tmp_path, scan, "dicom-seg", FACTS)
    assert [line["file"] for line in written] == ["liver.dcm", "scan.nii.gz"]
    assert written[0] == {
        "name": "liver",
        "type": "labels",
        "file": "liver.dcm",
        "nifti": "liver.nii.gz",
        "labels": labels.counted(),
        "preview": "preview.png",
    }
    ((segment, place, _),) = marks(pydicom.dcmread(tmp_path / "liver.dcm"))
    assert segment == 1
    assert np.abs(place - scan.to_physical((1, 2, 3))).max() <= WITHIN_MM
    beside = sitk.ReadImage(tmp_path / "liver.nii.gz")
    ((k, j, i),) = np.argwhere(sitk.GetArrayFromImage(beside) == 2).tolist()
    assert (i, j, k) == (1, 2, 3)
    assert np.abs(np.subtract(beside.TransformIndexToPhysicalPoint((i, j, k)), place)).max() <= WITHIN_MM


def test_labels_refer_to_the_first_series_among_the_volumes():
    scan = series()
    other = scan.like(scan.array)
    assert choose_segmented([other, scan, series(1)], "dicom-seg") is scan
    assert choose_segmented([other, scan, series(1)], "nii.gz") is other
    assert choose_segmented([], "dicom-seg") is None
    with pytest.raises(VolumeRefused, match="none was sent"):
        choose_segmented([other], "dicom-seg")


def test_labels_of_no_volume_are_written_as_nifti(tmp_path):
    """There is nothing that they could refer to."""
    labels = marked(series(), {1: (0, 0, 0)})
    assert write_outputs({"liver": labels}, tmp_path, None, "dicom-seg", FACTS)[0]["file"] == "liver.nii.gz"


def test_what_writes_it_is_imported_only_for_it():
    program = "import sys, tomaat.worker.__main__; from tomaat.volumes import write_volume; print(*sys.modules)"
    loaded = subprocess.run(
        [sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not {"highdicom", "pydicom", "requests"} & set(loaded)


def test_marks_in_frames_of_one_enhanced_image_refer_to_it_and_to_their_frames(tmp_path):
    scan = series(1, (4, 5, 3))
    enhanced = "1.2.840.10008.5.1.4.1.1.2.1"
    headers = [
        {**one, "00080018": {"vr": "UI", "Value": ["1.2.3"]}, "00080016": {"vr": "UI", "Value": [enhanced]}}
        | {FRAME_NUMBER: {"vr": "IS", "Value": [7 - k]}}
        for k, one in enumerate(scan.dicom.headers)
    ]
    scan = replace(scan, dicom=DicomSource(headers=tuple(headers)))
    made = written(scan, marked(scan, {1: (1, 2, 0), 2: (2, 3, 2)}), tmp_path)
    (referenced,) = made.ReferencedSeriesSequence[0].ReferencedInstanceSequence
    assert (referenced.ReferencedSOPInstanceUID, referenced.ReferencedSOPClassUID) == ("1.2.3", enhanced)
    sources = [
        group.DerivationImageSequence[0].SourceImageSequence[0] for group in made.PerFrameFunctionalGroupsSequence
    ]
    assert [(one.ReferencedSOPInstanceUID, one.ReferencedFrameNumber) for one in sources] == [
        ("1.2.3", 7),
        ("1.2.3", 5),
    ]
    assert complaints(tmp_path / "liver.dcm") == []


@pytest.mark.parametrize("tilt", [0.0, 0.69, -0.41])
@pytest.mark.parametrize("depths", [(0, 1, 2, 3, 4, 5), (0, 1, 2, 4, 6, 8), (0, 1.5, 3, 5.5, 8)], ids=str)
def test_labels_on_an_even_grid_come_to_the_images_own_pixels_by_the_nearest_voxel(tilt, depths, tmp_path):
    columns, rows = 7, 6
    begin = max(0.0, -tilt * depths[-1])
    even = series(3, (columns, rows + 6, int(depths[-1]) + 1))
    places = tuple((0.0, begin + tilt * depth, float(depth)) for depth in depths)
    identity = {"StudyInstanceUID": generate_uid(), "SeriesInstanceUID": generate_uid()}
    headers = tuple(header(even.to_physical(place), **identity, **PATIENT) for place in places)
    scan = replace(even, dicom=DicomSource(headers=headers, own=OwnImages(columns=columns, rows=rows, places=places)))
    array = np.random.default_rng(1).integers(0, 3, even.array.shape).astype(np.uint8)
    made = written(scan, Labels(volume=scan.like(array), names={1: "one", 2: "two"}), tmp_path)
    assert (made.Columns, made.Rows) == (columns, rows)
    expected = []
    for one, place in zip(headers, places, strict=True):
        for i, j in np.ndindex(columns, rows):
            at = np.add(place, (i, j, 0))
            if value := array[tuple(np.rint(np.round(at, 6)).astype(int))]:
                expected.append((int(value), even.to_physical(at), one["00080018"]["Value"][0]))
    found = marks(made)
    assert len(found) == len(expected)
    there = {(value, uid, *np.round(place, 2)) for value, place, uid in found}
    assert all((value, uid, *np.round(place, 2)) in there for value, place, uid in expected)
    assert complaints(tmp_path / "liver.dcm") == []
