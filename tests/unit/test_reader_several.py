"""The volumes of one DICOM series are told apart, and what is no slice is set aside by name."""

from dataclasses import replace

import pytest

from tests.unit.test_reader_series import FIRST, stack
from tomaat.headers.volume_refused import VolumeRefused
from tomaat.reader.series import arrange


def labelled(depths, first=0, **labels):
    """Make a stack whose images say so, with instance numbers of their own."""
    names = tuple((name.replace("_", " "), value) for name, value in labels.items())
    return [replace(one, labels=names, number=first + n, instance=first + n + 1) for n, one in enumerate(stack(depths))]


DEPTHS = [0.0, 2.0, 4.0, 6.0]


def test_what_differs_from_slice_to_slice_tells_no_volumes_apart():
    both = labelled(DEPTHS) + labelled(DEPTHS, 4)
    timed = [replace(one, labels=(("acquisition time", 1000.0 + n),)) for n, one in enumerate(both)]
    with pytest.raises(VolumeRefused, match=r"^4 images lie where another one does, .*: image 1 and image 5, at \(10"):
        arrange(timed)


def test_what_differs_between_the_slices_of_one_volume_parts_nothing():
    slices = [replace(one, labels=(("acquisition", float(n)),)) for n, one in enumerate(stack(DEPTHS))]
    assert arrange(slices).dimensions[2] == 4


def test_volumes_come_in_the_order_of_what_tells_them_apart():
    echoes = [labelled(DEPTHS, 10 * n, echo_time=time) for n, time in enumerate((12.0, 2.5, 110.0))]
    with pytest.raises(VolumeRefused) as refusal:
        arrange([one for echo in echoes for one in echo])
    assert (
        "1: echo time 2.5 ms (4 images); 2: echo time 12 ms (4 images); 3: echo time 110 ms (4" in refusal.value.detail
    )
    chosen = arrange([one for echo in echoes for one in echo], volume=2)
    assert chosen.order == (0, 1, 2, 3)
    assert chosen.remarks[0].detail == "Of 3 volumes in the series, that of echo time 12 ms was read."


def test_no_digit_is_lost_that_tells_volumes_apart():
    times = ("120001.25", "120001.75")
    parts = [labelled(DEPTHS, 10 * n, acquisition_time=time) for n, time in enumerate(times)]
    with pytest.raises(VolumeRefused, match=r"1: acquisition time 120001\.25 .*2: acquisition time 120001\.75 "):
        arrange([one for part in parts for one in part])
    parts = [labelled(DEPTHS, 10 * n, trigger_time=time) for n, time in enumerate((1234.568, 1234.569))]
    with pytest.raises(VolumeRefused, match=r"1: trigger time 1234\.568 ms .*2: trigger time 1234\.569 ms "):
        arrange([one for part in parts for one in part])


def heart(beats):
    """Make the phases of a heart, of which each slice was taken in a beat of its own: times (ms) for each slice."""
    return [
        replace(one, labels=(("trigger time", time),), number=10 * phase + n, instance=10 * phase + n + 1)
        for n, (one, times) in enumerate(zip(stack(DEPTHS), beats, strict=True))
        for phase, time in enumerate(times)
    ]


def test_phases_of_a_heart_are_told_apart_whatever_each_beat_lasted():
    slices = heart([(0.0, 41.0, 82.0), (0.0, 40.5, 81.0), (1.0, 39.0, 77.5), (0.0, 43.0, 86.5)])
    with pytest.raises(VolumeRefused, match=r"3 volumes: 1: phase 1 \(4 images\); 2: phase 2 "):
        arrange(slices)
    assert arrange(slices, volume=3).order == (20, 21, 22, 23)
    with pytest.raises(VolumeRefused, match="lie where another one does"):  # one slice has a phase less
        arrange(slices[:-1])


def test_images_of_one_time_after_a_beat_are_no_phases():
    with pytest.raises(VolumeRefused, match="lie where another one does"):
        arrange(heart([(0.0, 41.0), (0.0, 40.5), (1.0, 39.0), (43.0, 43.0)]))


def test_as_much_is_named_as_is_needed_to_tell_volumes_apart():
    parts = [
        labelled(DEPTHS, 10 * n, image_type=kind, echo_time=time, acquisition=float(n))
        for n, (kind, time) in enumerate([("M", 1.0), ("P", 1.0), ("M", 2.0), ("P", 2.0)])
    ]
    with pytest.raises(
        VolumeRefused, match=r"4 volumes: 1: image type M, echo time 1 ms \(4 images\); 2: image type M, "
    ):
        arrange([one for part in parts for one in part])


def test_stacks_in_two_directions_are_two_volumes():
    sagittal = [
        replace(one, axes=(0.0, 1.0, 0.0, 0.0, 0.0, 1.0), position_mm=(depth, 0.0, 0.0), number=9 + n)
        for n, (one, depth) in enumerate(zip(stack(DEPTHS), DEPTHS, strict=True))
    ]
    with pytest.raises(VolumeRefused, match=r"2 volumes: 1: axial \(4 images\); 2: sagittal \(4 images\)"):
        arrange(stack(DEPTHS) + sagittal)
    assert arrange(stack(DEPTHS) + sagittal, volume=2).order == (9, 10, 11, 12)


SCREEN = {"kind": "Secondary Capture Image Storage", "position_mm": None, "axes": None, "samples": 3, "columns": 900}


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"axes": (0.0, 1.0, 0.0, 0.0, 0.0, 1.0)}, "in another direction"),
        ({"image_type": "ORIGINAL\\\\PRIMARY\\\\LOCALIZER", "rows": 7}, "localizer"),
        (SCREEN, "picture of a screen"),
        ({**SCREEN, "kind": "CT Image Storage", "frames": 3}, "picture of a screen"),
    ],
)
def test_what_is_no_slice_is_set_aside_by_name(changes, what):
    series = arrange([*stack(DEPTHS), replace(FIRST, number=8, instance=99, **changes)])
    assert series.order == (0, 1, 2, 3)
    assert [(one.code, one.detail) for one in series.remarks] == [
        ("set-aside", f"Image 99 ({what}): no slice of the volume, and set aside.")
    ]


@pytest.mark.parametrize(
    "changes", [{"position_mm": None}, {"axes": None}, {"rows": 7}, {"samples": 3}, {"fault": ("size", "it is cut.")}]
)
def test_what_may_be_a_slice_is_not_set_aside(changes):
    last = replace(stack([8.0])[0], number=4, instance=5, **changes)
    with pytest.raises(VolumeRefused, match="Image 5: "):
        arrange([*stack(DEPTHS), last])


def test_a_series_of_nothing_but_localizers_is_a_volume():
    assert arrange(stack(DEPTHS, image_type="ORIGINAL\\\\PRIMARY\\\\LOCALIZER")).dimensions[2] == 4


def test_copies_count_once_and_are_told():
    slices = [replace(one, uid=f"1.{n}", instance=n + 1, digest="a") for n, one in enumerate(stack(DEPTHS))]
    copies = [replace(one, number=one.number + 4) for one in slices[:2]]
    series = arrange(slices + copies)
    assert series.order == (0, 1, 2, 3)
    assert series.remarks[0].detail == "Sent more than once, and counted once: image 1, image 2."


def test_images_of_one_uid_that_differ_are_no_copies():
    slices = [replace(one, uid="1.2", digest="a", instance=n + 1) for n, one in enumerate(stack(DEPTHS))]
    assert arrange(slices).dimensions[2] == 4
    with pytest.raises(VolumeRefused, match="1 image lies where another one does"):
        arrange([*slices, replace(slices[0], number=9, digest="b")])
