"""The picture of a segmentation: the right way up, each label where it is."""

import itertools

import numpy as np
import pytest
from PIL import Image

from tomaat.volumes import Labels, Volume, draw_preview
from tomaat.volumes.preview import EDGE, PANEL

LPS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
ORIENTATIONS = ["LPS", "RAS", "SAR", "PIL", "ASL", "IRP"]


def head():
    """Brightest at the patient's right, front and top; one label there, a small one at the left, back and bottom."""
    array = np.zeros((60, 80, 40), np.float32)
    array[:20, :25, 28:] = 1000.0
    marked = np.zeros(array.shape, np.uint8)
    marked[2:18, 2:20, 30:38] = 1
    marked[50:54, 70:74, 4:8] = 2
    scan = Volume(array=array, spacing_mm=(2.0, 1.5, 3.0), origin_mm=(0, 0, 0), direction=LPS)
    return scan, Labels(volume=scan.like(marked), names={1: "front", 2: "back"})


def opened(path):
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"))


def middle_of(pixels, color, panel):
    """Tell where, as shares of a panel, a colour is in the mean."""
    left = panel * (PANEL + 2 * EDGE) + EDGE
    part = pixels[EDGE : EDGE + PANEL, left : left + PANEL]
    rows, columns = np.nonzero((part == color).all(axis=2))
    assert rows.size
    return rows.mean() / PANEL, columns.mean() / PANEL


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_patients_right_front_and_top_are_where_radiologists_look_for_them(tmp_path, orientation):
    scan, labels = head()
    turned = Labels(volume=labels.volume.reoriented(orientation), names=labels.names)
    draw_preview(scan.reoriented(orientation), turned, tmp_path / "p.png")
    pixels = opened(tmp_path / "p.png")
    color = labels.color(1)
    for panel, half in itertools.product(range(3), range(2)):
        assert middle_of(pixels, color, panel)[half] < 0.5, (panel, half)


def test_the_picture_is_the_same_however_the_axes_are_turned(tmp_path):
    scan, labels = head()
    for orientation in ORIENTATIONS:
        turned = Labels(volume=labels.volume.reoriented(orientation), names=labels.names)
        draw_preview(scan.reoriented(orientation), turned, tmp_path / f"{orientation}.png")
    assert len({(tmp_path / f"{orientation}.png").read_bytes() for orientation in ORIENTATIONS}) == 1


def test_nothing_found_is_said(tmp_path):
    scan, _ = head()
    empty = Labels(volume=scan.like(np.zeros(scan.array.shape, np.uint8)), names={1: "front"})
    draw_preview(scan, empty, tmp_path / "p.png")
    assert opened(tmp_path / "p.png")[:, :, 0].max() > 200, "the letters and the sentence are there"


def test_one_slice_is_drawn_too(tmp_path):
    scan = Volume(array=np.ones((30, 30, 1)), spacing_mm=(1, 1, 5), origin_mm=(0, 0, 0), direction=LPS)
    labels = Labels(volume=scan.like(np.ones((30, 30, 1), bool)), names={1: "all"})
    draw_preview(scan, labels, tmp_path / "p.png")
