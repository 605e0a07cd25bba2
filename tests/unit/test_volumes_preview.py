"""The picture of a segmentation: the right way up, each label where it is."""

import functools
import itertools

import numpy as np
import pytest
from PIL import Image, ImageDraw, ImageFont

from tomaat.volumes import Labels, Volume, draw_preview
from tomaat.volumes.preview import EDGE, INK, LEGEND, PANEL, SHOWN, letters

LPS = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0))
WHITE = (255, 255, 255)
WORDS = [
    "".join(word) for count in (1, 2, 3) for word in itertools.permutations("RLAPSI", count)
]  #: whatever an edge may say
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


def read_letters(pixels, panel):
    """Read what stands at the left, right, top and bottom of a panel that fills its square."""
    read = []
    left, middle = panel * (PANEL + 2 * EDGE), EDGE + PANEL // 2
    for x, y in ((0, middle), (PANEL + EDGE, middle), (middle, 0), (middle, PANEL + EDGE)):
        column, row = left + (x if x != middle else middle - EDGE // 2), y if y != middle else middle - EDGE // 2
        seen = pixels[row : row + EDGE, column : column + EDGE]
        read.append(next(word for word in WORDS if np.array_equal(drawn(word), seen)))
    return read


@functools.cache
def drawn(word):
    picture = Image.new("RGB", (EDGE, EDGE))
    place = (EDGE // 2, EDGE // 2)
    ImageDraw.Draw(picture).text(place, word, fill=INK, font=ImageFont.load_default(16), anchor="mm")
    return np.asarray(picture)


def cube(axes):
    """A scan whose planes are all square."""
    array = np.random.default_rng(1).normal(size=(30, 30, 30))
    scan = Volume(array=array, spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=tuple(map(tuple, axes)))
    return scan, Labels(volume=scan.like(array > 0), names={1: "bright"})


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_letters_say_where_the_patients_sides_are(tmp_path, orientation):
    scan, labels = cube(LPS)
    turned = Labels(volume=labels.volume.reoriented(orientation), names=labels.names)
    draw_preview(scan.reoriented(orientation), turned, tmp_path / "p.png")
    pixels = opened(tmp_path / "p.png")
    assert [read_letters(pixels, panel) for panel in range(3)] == [list("RLAP"), list("RLSI"), list("APSI")]


def test_the_letters_of_an_oblique_scan_name_the_second_axis_too(tmp_path):
    """Tilted by 30 degrees about the patient's left-right axis: its slices' front is further up."""
    c, s = np.cos(np.radians(30)), np.sin(np.radians(30))
    draw_preview(*cube([[1, 0, 0], [0, c, s], [0, -s, c]]), tmp_path / "p.png")
    pixels = opened(tmp_path / "p.png")
    assert [read_letters(pixels, panel) for panel in range(3)] == [
        ["R", "L", "AS", "PI"],
        ["R", "L", "SP", "IA"],
        ["AS", "PI", "SP", "IA"],
    ]


@pytest.mark.parametrize("seed", range(20))
def test_opposite_edges_have_opposite_letters(seed):
    toward = np.random.default_rng(seed).normal(size=3)
    toward /= np.linalg.norm(toward)
    assert letters(-toward) == letters(toward).translate(str.maketrans("LRPASI", "RLAPIS"))


def test_the_largest_of_many_labels_is_outlined_and_named(tmp_path):
    scan, _ = head()
    marked = np.zeros(scan.array.shape, np.uint8)
    for value in range(1, 20):
        marked[:, 3 * value, 5] = value
    marked[10:50, 65:, 10:30] = 20
    names = {value: f"label {value}" for value in range(1, 21)}
    labels = Labels(volume=scan.like(marked), names=names)
    draw_preview(scan, labels, tmp_path / "all.png")
    assert middle_of(opened(tmp_path / "all.png"), labels.color(20), 0)[0] > 0.8
    only = Labels(volume=scan.like(np.where(marked > 18, 19, marked)), names=names)
    draw_preview(scan, only, tmp_path / "other.png")
    rows = opened(tmp_path / "all.png").shape[0]
    assert rows == opened(tmp_path / "other.png").shape[0] == PANEL + 2 * EDGE + 5 * LEGEND, "12 labels and a remark"


def test_labels_side_by_side_have_an_outline_each(tmp_path):
    scan, _ = head()
    marked = np.zeros(scan.array.shape, np.uint16)
    marked[10:30, 20:60, 10:30], marked[30:50, 20:60, 10:30] = 1, 60_000
    labels = Labels(volume=scan.like(marked), names={1: "right", 60_000: "left"})
    draw_preview(scan, labels, tmp_path / "p.png")
    row = opened(tmp_path / "p.png")[EDGE + PANEL // 2, EDGE : EDGE + PANEL]
    right, left = (np.flatnonzero((row == labels.color(value)).all(axis=1)).tolist() for value in (1, 60_000))
    assert len(right) == len(left) == 4, "two pixels at either end"
    assert left[0] == right[-1] + 1


@pytest.mark.slow
def test_thousands_of_labels_are_drawn_as_fast_as_one(tmp_path):
    """One pass over the pixels, not one for each label: 60,000 passes would take a quarter of an hour."""
    marked = np.arange(1, 60_001, dtype=np.uint16).reshape(60, 50, 20)
    scan = Volume(array=marked.astype(float), spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=LPS)
    labels = Labels(volume=scan.like(marked), names={value: f"label {value}" for value in range(1, 60_001)})
    draw_preview(scan, labels, tmp_path / "p.png")
    assert (tmp_path / "p.png").is_file()


@pytest.mark.parametrize("name", ["W" * 64, "肝臓", "ß"])
def test_a_name_stays_in_its_column(tmp_path, name):
    scan, labels = head()
    draw_preview(scan, Labels(volume=labels.volume, names={1: "a", 2: "b"}), tmp_path / "short.png")
    draw_preview(scan, Labels(volume=labels.volume, names={1: name, 2: "b"}), tmp_path / "long.png")
    second = PANEL + 2 * EDGE
    short, long = (opened(tmp_path / f"{which}.png")[PANEL + 2 * EDGE :] for which in ("short", "long"))
    assert np.array_equal(short[:, second:], long[:, second:])
    assert not np.array_equal(short, long)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_the_patients_right_front_and_top_are_where_radiologists_look_for_them(tmp_path, orientation):
    scan, labels = head()
    turned = Labels(volume=labels.volume.reoriented(orientation), names=labels.names)
    draw_preview(scan.reoriented(orientation), turned, tmp_path / "p.png")
    pixels = opened(tmp_path / "p.png")
    for color, panel, half in itertools.product((labels.color(1), WHITE), range(3), range(2)):
        assert middle_of(pixels, color, panel)[half] < 0.5, (color, panel, half)


def test_the_picture_is_the_same_however_the_axes_are_turned(tmp_path):
    scan, labels = head()
    for orientation in ORIENTATIONS:
        turned = Labels(volume=labels.volume.reoriented(orientation), names=labels.names)
        draw_preview(scan.reoriented(orientation), turned, tmp_path / f"{orientation}.png")
    assert len({(tmp_path / f"{orientation}.png").read_bytes() for orientation in ORIENTATIONS}) == 1


def test_brightness_comes_of_a_sample_that_is_the_whole_where_it_is_small(tmp_path, monkeypatch):
    """A sample of planes at equal distances has the percentiles of the whole; of a large scan, no more is looked at."""
    looked_at = []
    percentile = np.percentile

    def looking(array, shown):
        looked_at.append(array.size)
        return percentile(array, shown)

    monkeypatch.setattr(np, "percentile", looking)
    small, labels = head()
    draw_preview(small, labels, tmp_path / "p.png")
    voxels = np.random.default_rng(1).normal(0, 100, (300, 200, 130)).astype(np.float32)
    large = Volume(array=voxels, spacing_mm=(1, 1, 1), origin_mm=(0, 0, 0), direction=LPS)
    draw_preview(large, Labels(volume=large.like(voxels > 300), names={1: "bright"}), tmp_path / "p.png")
    assert looked_at == [small.array.size, 75 * 67 * 65]
    sample = large.array[::4, ::3, ::2]
    assert np.allclose(percentile(sample, SHOWN), percentile(voxels, SHOWN), atol=3)


def test_nothing_found_is_said(tmp_path):
    scan, _ = head()
    empty = Labels(volume=scan.like(np.zeros(scan.array.shape, np.uint8)), names={1: "front"})
    draw_preview(scan, empty, tmp_path / "p.png")
    assert opened(tmp_path / "p.png")[:, :, 0].max() > 200, "the letters and the sentence are there"


def test_one_slice_is_drawn_too(tmp_path):
    scan = Volume(array=np.ones((30, 30, 1)), spacing_mm=(1, 1, 5), origin_mm=(0, 0, 0), direction=LPS)
    labels = Labels(volume=scan.like(np.ones((30, 30, 1), bool)), names={1: "all"})
    draw_preview(scan, labels, tmp_path / "p.png")
