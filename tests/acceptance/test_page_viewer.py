"""The viewer by itself, in a real browser: what is drawn in the window is compared with the voxels that belong there."""

import gzip
import io
import re

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.orientations import axcodes2ornt
from PIL import Image
from playwright.sync_api import expect

from tests.browser import seen
from tests.dicom_series import series, zipped

SHAPE = (30, 24, 16)
BOX = (slice(20, 25), slice(5, 9), slice(2, 6))
BLACK, WHITE = -20, 67  #: of the volume in which a voxel's value is the sum of its indices
SIDES = ("RL", "AP", "SI")


def turned(degrees_x, degrees_z, spacing=(1.5, 2.0, 4.0), origin=(-31.0, 17.0, -50.5)):
    """Make the affine (RAS) of a head that lies turned."""
    x, z = np.radians((degrees_x, degrees_z))
    about_x = [[1, 0, 0], [0, np.cos(x), -np.sin(x)], [0, np.sin(x), np.cos(x)]]
    about_z = [[np.cos(z), -np.sin(z), 0], [np.sin(z), np.cos(z), 0], [0, 0, 1]]
    affine = np.eye(4)
    affine[:3, :3] = np.array(about_x) @ about_z * spacing
    affine[:3, 3] = origin
    return affine


def nifti(voxels, affine, axes="RAS", **header):
    """Make a NIfTI file of voxels along RAS, stored along other axes."""
    image = nibabel.Nifti1Image(voxels, affine)
    turn = nibabel.orientations.ornt_transform(axcodes2ornt("RAS"), axcodes2ornt(tuple(axes)))
    image = image.as_reoriented(turn)
    for name, value in header.items():
        image.header[name] = value
    return image.to_bytes()


def sums(shape=SHAPE):
    return np.indices(shape).sum(axis=0).astype(np.int16)


def box(shape=SHAPE):
    mask = np.zeros(shape, np.uint8)
    mask[BOX] = 1
    return mask


def coded(affine, axes="RAS"):
    """A volume whose pixels tell which plane they are of, and its labels."""
    return nifti(sums(), affine, axes, cal_min=BLACK, cal_max=WHITE), nifti(box(), affine, axes)


@pytest.fixture
def viewer(page, run):
    """Show a viewer; files are bytes by their names."""

    def show(sent=None, labels=None, made=None, left="true"):
        code = """
            const files = (given) => Object.entries(given).map(([name, bytes]) => new File([new Uint8Array(bytes)], name));
            const shown = (given) => files(given).map((file) => ({ name: file.name, open: async () => file }));
            const labels = [{ value: 1, name: "box", voxels: 80, ml: 1, color: [230, 120, 20] }];
            const overlays = files(given.labels).map((file) => ({ name: file.name, file, labels }));
            globalThis.left?.abort();
            globalThis.left = new AbortController();
            globalThis.viewer = module.makeViewer(shown(given.sent), shown(given.made), overlays, left.signal);
            document.querySelector("main").replaceChildren(viewer.element);
        """
        given = {"sent": sent, "labels": labels, "made": made}
        listed = {kind: {name: list(data) for name, data in (files or {}).items()} for kind, files in given.items()}
        assert run("viewer", code, listed) is None
        ready(page)
        return page.locator(".viewer")

    return show


def ready(page):
    expect(page.locator(".viewer")).not_to_have_attribute("data-state", "loading")


def drawn(page):
    """Read, from the window's pixels, which plane of voxels is drawn along each axis, left to right first."""
    grey = np.asarray(Image.fromarray(seen(page.locator("canvas"))).convert("L")).astype(float)
    found = sitk.LabelShapeStatisticsImageFilter()
    found.Execute(sitk.ConnectedComponent(sitk.GetImageFromArray((grey > 50).astype(np.uint8))))
    tiles = [found.GetBoundingBox(label) for label in found.GetLabels() if found.GetNumberOfPixels(label) > 5000]
    coronal, axial, sagittal, _ = sorted(tiles)  # from left to right, then down; the last is the picture in 3D
    planes = []
    for axis, (left, top, width, height) in enumerate((sagittal, coronal, axial)):
        row, column = top + height // 2, left + width // 2
        value = BLACK + grey[row - 3 : row + 4, column - 3 : column + 4].mean() / 255 * (WHITE - BLACK)
        planes.append(value - sum((SHAPE[other] - 1) / 2 for other in {0, 1, 2} - {axis}))
    return planes


def told(page):
    """Read the place of the line and of the sliders: the line's mm (RAS), the voxel; both must name one place."""
    line = page.locator(".place").text_content().partition(" · ")[0].split(", ")
    sliders = [page.locator(f"#place-{axis}") for axis in range(3)]
    assert [slider.get_attribute("aria-valuetext") for slider in sliders] == line
    assert [slider.locator("+ .amount").text_content() for slider in sliders] == line
    mm = [float(text.split()[0]) * (-1 if text[-1] in "LPI" else 1) for text in line]
    assert all(text[-1] in sides for text, sides in zip(line, SIDES, strict=True))
    return mm, tuple(int(slider.input_value()) for slider in sliders)


def check_planes(page, affine):
    """The planes that are drawn, the line and the sliders name one voxel; return it."""
    mm, voxel = told(page)
    assert np.allclose(drawn(page), voxel, atol=0.25)
    assert np.allclose((affine @ (*voxel, 1))[:3], mm, atol=0.051)
    expect(page.locator(".place")).to_contain_text(f"value {sum(voxel)}")
    return voxel


@pytest.mark.parametrize(
    ("affine", "axes"),
    [
        (np.diag([1.5, 2, 4, 1]), "RAS"),
        (turned(0, 0), "LPS"),
        (turned(0, 0), "AIR"),
        (turned(20, 0), "RAS"),
        (turned(-20, 12), "PLS"),
    ],
    ids=["straight", "flipped", "permuted", "turned", "turned-flipped"],
)
def test_the_first_planes_hit_the_label_and_are_those_that_are_told(viewer, page, affine, axes):
    volume, labels = coded(affine, axes)
    viewer({"head.nii": volume}, {"box.nii": labels})
    assert box()[check_planes(page, affine)]
    expect(page.locator(".place")).to_contain_text("box")


def test_whatever_is_changed_is_drawn_and_told(viewer, page):
    affine = turned(20, 12)
    volume, labels = coded(affine, "LAS")
    viewer({"head.nii": volume}, {"box.nii": labels})
    canvas = page.locator("canvas")
    first = check_planes(page, affine)
    for axis, name in enumerate(("Left to right", "Back to front", "Feet to head")):
        page.get_by_role("slider", name=name).press("ArrowRight")
        assert check_planes(page, affine) == tuple(first[other] + (other <= axis) for other in range(3))
    frame = canvas.bounding_box()
    for across, down in ((0.4, 0.2), (0.65, 0.3), (0.35, 0.85), (0.66, 0.88)):  # each plane, and the picture in 3D
        before = told(page)
        canvas.click(position={"x": across * frame["width"], "y": down * frame["height"]})
        check_planes(page, affine)
        assert told(page) != before
    canvas.press("ArrowUp") if False else None
    page.set_viewport_size({"width": 1000, "height": 820})
    check_planes(page, affine)
    page.set_viewport_size({"width": 1280, "height": 860})
    check_planes(page, affine)
