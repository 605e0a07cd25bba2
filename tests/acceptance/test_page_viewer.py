"""The viewer by itself, in a real browser: the pixels in the window are compared with the voxels that belong there."""

import base64
import gzip
import itertools
import re

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from nibabel.orientations import axcodes2ornt
from PIL import Image
from playwright.sync_api import expect

from tests.browser import check_access, seen

SHAPE = (30, 24, 16)
BOX = (slice(20, 25), slice(5, 9), slice(2, 6))
BLACK, WHITE = -20, 67  #: of the volume in which a voxel's value is the sum of its indices
WINDOW = {"width": 760, "height": 640}  #: drawn in a quarter of the time of the usual one
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
    """Show a viewer; files are bytes by their names. One without bytes is never read to its end."""

    def show(sent=None, labels=None, made=None, names=("box",), window=None):
        code = """
            const bytesOf = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const fileOf = ([name, text]) => new File([bytesOf(text)], name);
            const files = (given) => Object.entries(given).map(fileOf);
            const open = (file) => file.size ? file : new Promise(() => {});
            const shown = (given) => files(given).map((file) => ({ name: file.name, open: () => open(file) }));
            const colors = [[230, 120, 20], [40, 200, 60]];
            const label = (name, at) => ({ value: at + 1, name, voxels: 80, ml: 1, color: colors[at] });
            const labels = given.names.map(label);
            const overlays = files(given.labels).map((file) => ({ name: file.name, file, labels }));
            globalThis.left?.abort();
            globalThis.left = new AbortController();
            const viewer = module.makeViewer(shown(given.sent), shown(given.made), overlays, left.signal);
            document.querySelector("main").replaceChildren(viewer);
        """
        page.set_viewport_size(window or WINDOW)
        given = {"sent": sent, "labels": labels, "made": made}
        texts = {
            kind: {name: base64.b64encode(data).decode() for name, data in (files or {}).items()}
            for kind, files in given.items()
        }
        assert run("viewer", code, texts | {"names": names}) is None
        ready(page)
        return page.locator(".viewer")

    return show


def ready(page):
    expect(page.locator(".viewer")).not_to_have_attribute("data-state", "loading")


def greys(page):
    """Read the picture's greys from the window; what is coloured, as words, lines and labels are, is black."""
    canvas = page.locator("canvas")
    canvas.blur()  # its frame is no part of a plane
    pixels = seen(canvas).astype(float)
    return np.where(np.ptp(pixels, axis=2) < 3, pixels.mean(axis=2), 0)


def drawn(page):
    """Read, from the window's pixels, which plane of voxels is drawn along each axis, left to right first."""
    grey = greys(page)
    height, width = (size // 2 for size in grey.shape)
    corners = ((width, 0), (0, 0), (0, height))  # of the sagittal plane, the coronal and the axial one
    return [plane(grey, box_of(grey, left, top, width, height), axis) for axis, (left, top) in enumerate(corners)]


def box_of(grey, left, top, width, height):
    """Find the box around the grey pieces, between the cross hair's lines, in a part of the picture."""
    part = sitk.GetImageFromArray((grey[top : top + height, left : left + width] > 50).astype(np.uint8))
    pieces = sitk.GetArrayFromImage(sitk.RelabelComponent(sitk.ConnectedComponent(part), minimumObjectSize=50))
    rows, columns = (np.flatnonzero(pieces.any(axis=axis)) for axis in (1, 0))
    return (left + columns[0], top + rows[0], columns[-1] - columns[0] + 1, rows[-1] - rows[0] + 1)


def plane(grey, tile, axis):
    """Tell, by the pixels in the middle of a tile, which of the planes across an axis it shows."""
    left, top, width, height = tile
    rows = slice(top + height // 2 - 3, top + (height + 1) // 2 + 3)
    columns = slice(left + width // 2 - 3, left + (width + 1) // 2 + 3)
    pixels = grey[rows, columns]
    value = BLACK + pixels[pixels > 0].mean() / 255 * (WHITE - BLACK)
    return value - sum((SHAPE[other] - 1) / 2 for other in {0, 1, 2} - {axis})


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
        (turned(0, 0), "AIR"),
        (turned(20, 0), "RAS"),
        (turned(-20, 12), "PLS"),
    ],
    ids=["straight", "permuted", "turned", "turned-flipped"],
)
def test_the_first_planes_hit_the_label_and_are_those_that_are_told(viewer, page, affine, axes):
    volume, labels = coded(affine, axes)
    viewer({"head.nii": volume}, {"box.nii": labels})
    assert box()[check_planes(page, affine)]
    expect(page.locator(".place")).to_contain_text("box")
    for worker in page.workers:
        assert worker.evaluate("fetch('/').then(() => 'asked', () => 'kept')") == "kept"


def test_whatever_is_changed_is_drawn_and_told(viewer, page):
    affine = turned(20, 12)
    volume, labels = coded(affine, "LAS")
    viewer({"head.nii": volume}, {"box.nii": labels})
    canvas = page.locator("canvas")
    first = check_planes(page, affine)
    for axis, name in enumerate(("Left to right", "Back to front", "Feet to head")):
        page.get_by_role("slider", name=name).press("ArrowRight")
        assert check_planes(page, affine) == tuple(first[other] + (other <= axis) for other in range(3))
    check_looks(page)
    bright = seen(canvas).mean()
    page.get_by_role("slider", name="Level").fill("43.5")
    assert seen(canvas).mean() < bright - 5
    page.get_by_role("slider", name="Level").fill(str((BLACK + WHITE) / 2))
    frame = canvas.bounding_box()
    for across, down in ((0.3, 0.2), (0.68, 0.3), (0.3, 0.85), (0.72, 0.72)):  # each plane, and the picture in 3D
        before = page.locator(".place").text_content()
        canvas.dblclick(position={"x": across * frame["width"], "y": down * frame["height"]})
        expect(page.locator(".place")).not_to_have_text(before)
        check_planes(page, affine)
    for width in (600, 900):
        page.set_viewport_size({"width": width, "height": 640})
        check_planes(page, affine)
    page.get_by_text("Axial", exact=True).click()
    grey = greys(page)
    assert abs(plane(grey, (0, 0, *grey.shape[::-1]), 2) - told(page)[1][2]) < 0.25


def check_looks(page):
    """Opacity, outlines, hiding and showing alone change the pixels that they are about."""
    opacity, style = page.get_by_role("slider", name="Opacity", exact=True), page.get_by_role("group", name="drawn as")
    opacity.fill("0")
    assert orange(page) == 0
    opacity.fill("1")
    whole, planes = orange(page), orange(page, in_3d=False)
    style.get_by_text("Outlines").click()
    assert 0.0005 < orange(page, in_3d=False) < 0.8 * planes  # in 3D there are no outlines
    style.get_by_text("Fill").click()
    assert orange(page) == pytest.approx(whole, rel=0.2)
    page.get_by_role("checkbox", name="box").uncheck()
    assert orange(page) == 0
    page.get_by_role("button", name="Only box").click()
    assert orange(page) > whole / 2
    page.get_by_role("button", name="Only box").click()
    assert orange(page) == 0
    page.get_by_role("checkbox", name="box").check()
    page.get_by_role("slider", name="Opacity of box").fill("0.1")
    assert orange(page) == 0
    page.get_by_role("slider", name="Opacity of box").fill("1")
    assert orange(page) > whole / 2


def settled(canvas):
    """Take the picture's pixels once the part in 3D, which follows when a change rests, is as it shall be."""
    expect(canvas).not_to_have_attribute("data-behind", "")
    return seen(canvas)


def orange(page, *, in_3d=True):
    """The share of the picture that has the first label's colour."""
    pixels = settled(page.locator("canvas")).astype(int)
    if not in_3d:
        pixels = pixels[:, : pixels.shape[1] // 2]
    return ((pixels[..., 0] - pixels[..., 2]) > 60).mean()


def two_labels():
    """Voxels of two labels, the first of which is largest in one plane across each axis."""
    mask = box()
    mask[21, 4:12, 4] = mask[18:28, 6, 4] = 1
    mask[21, 6, 1:8] = 1
    mask[6:9, 15:20, 10:12] = 2
    return mask


@pytest.fixture
def labelled(viewer):
    """Two labels over a volume that lies turned and is stored along other axes; its affine."""
    affine = turned(-20, 12)
    volume = nifti(sums(), affine, "PLS", cal_min=BLACK, cal_max=WHITE)
    viewer({"head.nii": volume}, {"two.nii": nifti(two_labels(), affine, "PLS")}, names=("box", "other"))
    return affine


def test_each_way_to_a_slice_draws_and_tells_it(labelled, page):
    """The wheel needs no click before it; a label's name leads to its largest slice; and the keys go everywhere."""
    mask = two_labels()
    frame = page.locator("canvas").bounding_box()
    for axis, (across, down) in enumerate(((0.75, 0.25), (0.25, 0.25), (0.25, 0.75))):
        before = told(page)[1]
        page.mouse.move(frame["x"] + across * frame["width"], frame["y"] + down * frame["height"])
        page.mouse.wheel(0, 100)
        expected = tuple(number - (along == axis) for along, number in enumerate(before))
        expect(page.locator(f"#place-{axis}")).to_have_value(str(expected[axis]))
        assert check_planes(page, labelled) == expected
    counts = (mask == 1).sum(axis=(0, 1))
    for view, axis in (("All", 2), ("Coronal", 1), ("Sagittal", 0), ("All", 2)):
        page.get_by_text(view, exact=True).click()
        page.get_by_role("button", name="box", exact=True).click()
        sums_of = (mask == 1).sum(axis=tuple({0, 1, 2} - {axis}))
        voxel = told(page)[1]
        assert sums_of[voxel[axis]] == sums_of.max()
        assert mask[voxel] == 1
    assert check_planes(page, labelled)[2] == counts.argmax()
    page.get_by_role("button", name="other", exact=True).click()
    assert mask[check_planes(page, labelled)] == 2
    page.get_by_role("button", name="Next slice with a label").click()
    assert told(page)[1][2] == 11
    page.get_by_role("button", name="Next slice with a label").click()
    assert told(page)[1][2] == 11  # its last
    page.get_by_role("checkbox", name="other").uncheck()
    page.get_by_role("button", name="Previous slice with a label").click()
    assert check_planes(page, labelled)[2] == 7  # the other label's last
    check_keys(page, labelled)


def check_keys(page, affine):
    canvas = page.locator("canvas")
    expected = list(told(page)[1])
    for key, axis, voxels in (
        ("PageUp", 2, 1),
        ("ArrowLeft", 0, 1),
        ("ArrowDown", 1, -1),
        ("p", 0, 0),
        ("PageDown", 1, -1),
        ("End", 1, -30),
    ):
        canvas.press(key)
        expected[axis] = max(0, expected[axis] + voxels)
        assert list(told(page)[1]) == expected, key
    check_planes(page, affine)


# The sent file, which the page reads by its own rules


def scan(shape=(12, 10, 8), seed=1):
    """Voxels (i, j, k) of which the one that is labelled is the brightest."""
    voxels = np.random.default_rng(seed).integers(0, 90, shape).astype(np.int16)
    voxels[tuple(np.array(shape) * 2 // 3)] = 120
    return voxels


def labels_of(name, data, folder):
    """The brightest voxel's label, on the grid on which the service reads a file: SimpleITK's."""
    (folder / name).write_bytes(data)
    image = sitk.ReadImage(folder / name, sitk.sitkFloat32)
    if image.GetDimension() == 2:
        image = sitk.JoinSeries(image)
    if image.GetDimension() == 4:
        image = image[..., 0]
    labels = sitk.Cast(image == 120, sitk.sitkUInt8)
    sitk.WriteImage(labels, folder / "labels.nii.gz")
    return (folder / "labels.nii.gz").read_bytes()


def nrrd(voxels, *fields):
    lines = ["NRRD0004", "type: short", f"dimension: {voxels.ndim}", f"sizes: {' '.join(map(str, voxels.shape))}"]
    lines += ["endian: little", "encoding: raw", *fields]
    return "\n".join([*lines, "", ""]).encode() + voxels.tobytes("F")


def mha(voxels, *fields, dtype="<i2", dims=3):
    kind = {"i2": "MET_SHORT", "u1": "MET_UCHAR"}[np.dtype(dtype).str[1:]]
    sizes = [*voxels.shape, 1][:dims]
    lines = ["ObjectType = Image", f"NDims = {dims}", "BinaryData = True", "CompressedData = False", *fields]
    lines += [f"DimSize = {' '.join(map(str, sizes))}", f"ElementType = {kind}", "ElementDataFile = LOCAL", ""]
    return "\n".join(lines).encode() + voxels.astype(dtype).tobytes("F")


SCAN = scan()
SQUARE_NIFTI = nifti(SCAN, np.diag([0.8, 0.9, 2.5, 1]))
SQUARE = ("space: left-posterior-superior", "space directions: (0.8,0,0) (0,0.9,0) (0,0,2.5)", "space origin: (1,2,3)")
PLACED = ("TransformMatrix = 1 0 0 0 1 0 0 0 1", "Offset = 1 2 3")  #: without a matrix, NiiVue finds no place at all
NO_CODE = b"".join((SQUARE_NIFTI[:252], bytes(4), SQUARE_NIFTI[256:]))
IN_FOUR = "TransformMatrix = 1 0 0 0 0 1 0 0 0 0 1 0 0 0 0 1"
AT_THE_END = nrrd(SCAN, *SQUARE, "byte skip: -1")
SKIPPED = AT_THE_END.replace(b"\n\n", b"\n\nunused", 1)  #: bytes that NiiVue takes for voxels
WITHIN = b"".join((SQUARE_NIFTI[:108], bytes(4), SQUARE_NIFTI[112:]))  #: they begin at byte 0, as some write
BEGINS_WITH_A_LINE_END = np.where(np.arange(SCAN.size).reshape(SCAN.shape, order="F") == 0, 10, SCAN)


@pytest.mark.parametrize(
    ("file", "fits"),
    [
        (("square.nrrd", nrrd(SCAN, *SQUARE)), True),
        (("no-space.nrrd", nrrd(SCAN, "spacings: 0.8 0.9 2.5")), False),
        (("flat.nrrd", nrrd(SCAN[:, :, 5], "spacings: 0.8 0.9")), False),
        (("no-code.nii", NO_CODE), False),
        (("micrometres.nii", nifti(SCAN, np.diag([800, 900, 2500, 1.0]), xyzt_units=3)), False),
        (("spacing.mha", mha(SCAN, *PLACED, "ElementSpacing = 0.8 0.9 2.5")), True),
        (("size.mha", mha(SCAN, *PLACED, "ElementSize = 0.8 0.9 2.5")), False),
        (("position.mha", mha(SCAN, PLACED[0], "Position = 1 2 3")), False),
        (("four.mha", mha(SCAN, IN_FOUR, "Offset = 1 2 3 0", dims=4)), False),
        (("big.mha", mha(SCAN, *PLACED, "ElementByteOrderMSB = True", dtype=">i2")), True),
        (("big-too.mha", mha(SCAN, *PLACED, "BinaryDataByteOrderMSB = true", dtype=">i2")), True),
        (("line-end.mha", mha(BEGINS_WITH_A_LINE_END, *PLACED, dtype="u1")), False),
        (("skipped.nrrd", SKIPPED), False),
        (("at-the-end.nrrd", AT_THE_END), True),
        (("within.nii", WITHIN), False),
    ],
    ids=lambda value: value[0] if isinstance(value, tuple) else "fits" if value else "alone",
)
def test_labels_lie_over_their_own_voxels_or_alone(viewer, page, tmp_path, file, fits):
    name, data = file
    read = SQUARE_NIFTI if data is WITHIN else data
    viewer({name: data}, {"labels.nii.gz": labels_of(name, read, tmp_path)})
    place, fault = page.locator(".place"), page.locator(".controls .fault")
    if fits:
        expect(place).to_contain_text("value 120 · box")
        expect(fault).to_have_count(0)
        return
    expect(place).to_have_text(re.compile("[RL], .* [AP], .* [SI] · box$"))
    unread = name in {"line-end.mha", "skipped.nrrd", "within.nii"}
    reason = "cannot read it" if unread else "on another grid than the labels, .* by 3D Slicer"
    expect(fault).to_have_text(re.compile(f"^{name} is not shown: .*{reason}"))
    expect(page.get_by_label("Open the volume")).to_be_attached()
    assert orange(page) > 0.001


def test_of_several_volumes_the_first_that_fits_is_shown_and_no_other_is_laid_under_the_labels(viewer, page):
    affine = turned(20, 12)
    labels = coded(affine, "LAS")[1]
    moved, turned_on, near = affine.copy(), turned(20.3, 12), affine.copy()
    moved[:3, 3] += affine[:3, 0] / 4
    near[:3, 3] += affine[:3, 0] / 20
    others = {"moved.nii": moved, "turned.nii": turned_on, "near.nii": near}
    sent = {name: nifti(sums(), other, "LAS") for name, other in others.items()}
    sent |= {"small.nii": nifti(sums((30, 24, 15)), affine, "LAS"), "mirrored.nii": nifti(sums(), affine, "RAS")}
    viewer(sent | {"fits.nii": nifti(sums(), affine, "LAS")}, {"box.nii": labels})
    choice, fault = page.get_by_label("Volume", exact=True), page.locator(".controls .fault")
    expect(choice.locator("option:checked")).to_have_text("near.nii")
    expect(fault).to_have_count(0)
    for name in ("moved.nii", "turned.nii", "small.nii", "mirrored.nii"):
        choice.select_option(name)
        expect(fault).to_contain_text(f"{name} is not shown")
        expect(choice.locator("option:checked")).to_have_text("near.nii")
    choice.select_option("fits.nii")
    expect(fault).to_have_count(0)
    expect(choice.locator("option:checked")).to_have_text("fits.nii")
    expect(page.locator(".place")).to_contain_text("· box")


def test_a_volume_beside_the_result_that_lies_elsewhere_is_told_and_the_place_stays(viewer, page):
    other = np.diag([1.0, 1, 1, 1])
    other[:3, 3] = (-6, -8, -3)
    viewer({"sent.nii": nifti(scan((40, 40, 40)), other)}, made={"made.nii": nifti(sums(), np.diag([2.0, 2, 2, 1]))})
    before, voxel = told(page)
    assert voxel == (15, 12, 8)
    page.get_by_label("Volume", exact=True).select_option("sent.nii")
    expect(page.locator(".controls .fault")).to_have_text(re.compile("^sent.nii lies on another grid than the result"))
    assert told(page) == (before, (36, 32, 19))


def test_rulers_are_of_the_volume_in_which_they_were_drawn(viewer, page):
    viewer(made={"whole.nii": nifti(sums(), np.eye(4)), "crop.nii": nifti(sums((20, 20, 12)), np.eye(4))})
    for key in ("m", "ArrowRight", "m", "m"):
        page.locator("canvas").press(key)
    expect(page.locator(".rulers")).to_contain_text("Rulers: 1.0 mm")
    expect(page.locator(".rulers")).to_contain_text("A ruler has begun")
    page.get_by_label("Volume", exact=True).select_option("crop.nii")
    expect(page.locator(".rulers")).to_have_text("")


def test_places_and_rulers_are_as_fine_as_the_voxels(viewer, page):
    """A voxel of an inner ear in a micro-CT, whose slices are 4 micrometres apart."""
    viewer(made={"micro.nii": nifti(sums(), np.diag([0.02, 0.02, 0.004, 1]))})
    expect(page.locator(".place")).to_have_text(re.compile(r"^0\.300 mm R, 0\.240 mm A, 0\.032 mm S · "))
    page.get_by_text("Coronal", exact=True).click()
    for key in ("m", "PageUp", "ArrowUp", "ArrowUp", "ArrowUp", "PageDown", "m"):
        page.locator("canvas").press(key)
    expect(page.locator(".rulers span")).to_have_text("Rulers: 0.012 mm")


def test_a_tap_and_two_fingers_leave_no_ruler(viewer, page):
    viewer(made={"a.nii": nifti(sums(), np.eye(4))})
    page.get_by_text("Ruler", exact=True).click()
    canvas, screen = page.locator("canvas"), page.context.new_cdp_session(page)
    frame = canvas.bounding_box()

    def touch(kind, *places):
        points = [{"id": at, "x": frame["x"] + x, "y": frame["y"] + y} for at, (x, y) in enumerate(places)]
        screen.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    for steps in (
        [[(60, 60)], []],
        [[(60, 60)], [(60, 60), (120, 120)], [(50, 50), (130, 130)], [(50, 50)], []],
        [[(60, 60)], [(60, 80)], []],
    ):
        touch("touchStart", *steps[0])
        for before, now in itertools.pairwise(steps):
            kind = "touchStart" if len(now) > len(before) else "touchMove" if len(now) == len(before) else "touchEnd"
            touch(kind, *now)
        drawn_rulers = (seen(canvas) == (255, 221, 87)).all(axis=2).sum()
        listed = page.locator(".rulers span").count()
        assert (drawn_rulers > 0, listed) == (bool(steps[1]) and len(steps) == 3, int(len(steps) == 3))


def test_where_the_first_volume_cannot_be_shown_the_next_one_is(viewer, page):
    viewer(made={"unread.nii": WITHIN, "read.nii": nifti(sums(), np.eye(4))})
    expect(page.get_by_label("Volume", exact=True).locator("option:checked")).to_have_text("read.nii")


def test_the_next_slice_with_a_label_is_another_one_where_labels_have_more_slices_than_the_volume(viewer, page):
    mask = np.zeros((10, 10, 40), np.uint8)
    mask[4, 4, 5:35] = mask[3:6, 3:6, 20] = 1
    viewer(
        labels={"box.nii": nifti(mask, np.diag([2.0, 2, 1, 1]))},
        made={"coarse.nii": nifti(sums((10, 10, 8)), np.diag([2.0, 2, 5, 1]))},
    )
    expect(page.locator("#place-2")).to_have_value("4")
    for key, slices in (("n", (5, 6, 7, 7)), ("b", (6, 5, 4, 3, 2, 1, 1))):
        for expected in slices:
            page.locator("canvas").press(key)
            expect(page.locator("#place-2")).to_have_value(str(expected))


def test_what_was_opened_last_is_shown_and_the_choice_names_what_is_shown(viewer, page):
    """The first of two files is read to its end after the second one was opened."""
    affine = turned(20, 12)
    volume, labels = coded(affine)
    viewer({"first.nii": nifti(sums((9, 9, 9)), affine)}, {"box.nii": labels})
    page.evaluate("""() => {
        const { slice } = Blob.prototype;
        Blob.prototype.slice = function (...range) {
            const part = slice.apply(this, range);
            const late = () => new Promise((resolve) => (globalThis.goOn = () => resolve(new ArrayBuffer(0))));
            return this.name === "slow.nii" ? Object.assign(part, { arrayBuffer: late }) : part;
        };
        globalThis.asBefore = () => (Blob.prototype.slice = slice);
    }""")
    opens = page.locator("#open-volume")
    opens.set_input_files({"name": "slow.nii", "mimeType": "", "buffer": volume})
    page.evaluate("(async () => { while (!globalThis.goOn) await new Promise((next) => setTimeout(next, 20)); })()")
    opens.set_input_files({"name": "quick.nii", "mimeType": "", "buffer": volume})
    expect(page.locator(".controls .hint")).to_have_text("quick.nii")
    page.evaluate("asBefore(); goOn();")
    page.wait_for_timeout(300)
    expect(page.locator(".controls .hint")).to_have_text("quick.nii")


def test_infinite_values_leave_a_window_and_the_last_voxel_is_read(viewer, page, run):
    voxels = sums().astype(np.float32)
    voxels[15, 12, 8] = np.inf
    viewer(made={"infinite.nii": nifti(voxels, np.eye(4))})
    expect(page.locator(".levels")).to_have_text("W 67 L 33.5")
    page.get_by_role("slider", name="Level").fill("40")
    expect(page.locator(".levels")).to_have_text("W 67 L 40")
    code = 'return [...(await module.readVolume(new File([blobOf(given)], "a.nii"))).voxels];'
    few = np.arange(8).reshape((2, 2, 2), order="F") - 4
    for kind, order in ((np.int32, "<"), (np.int32, ">"), (np.int64, "<"), (np.int64, ">"), (np.uint32, "<")):
        stored = (few + 4 * (kind is np.uint32)).astype(kind)
        image = nibabel.Nifti1Image(stored, np.eye(4), nibabel.Nifti1Header(endianness=order), dtype=kind)
        assert run("reading", code, list(image.to_bytes())) == stored.ravel(order="F").tolist(), (kind, order)


def test_a_program_that_did_not_come_is_loaded_again(page, run):
    code = """
        const { readVolume } = await import(`/static/reading.js?without-${given.part}`);
        const file = new File([blobOf(given.volume)], "a.nii");
        const late = new Promise((resolve) => setTimeout(resolve, 30_000, "No answer came."));
        const read = () => Promise.race([readVolume(file).then(({ most }) => most, ({ message }) => message), late]);
        return [await read(), await read()];
    """
    for part in ("volume-worker.js", "niivue.umd.js"):
        page.route(f"**/{part}", lambda route: route.abort(), times=1)
        asked = {"part": part, "volume": list(nifti(sums(), np.eye(4)))}
        assert run("reading", code, asked) == ["A part of the page could not be loaded.", 67]


def test_a_volume_that_could_not_be_fetched_is_fetched_again_and_its_labels_are_moved_through_meanwhile(page, run):
    affine = np.diag([2.0, 2, 2, 1])
    volume, labels = coded(affine)
    code = """
        const { Unreachable } = await import("/static/api.js");
        const [volume, labels] = given.map((bytes, at) => new File([blobOf(bytes)], `${at}.nii`));
        const box = { value: 1, name: "box", voxels: 80, ml: 1, color: [230, 120, 20] };
        let tries = 0;
        const open = () => {
            tries += 1;
            const lost = new Promise((_, reject) => (globalThis.lose = () => reject(new Unreachable())));
            return tries === 1 ? lost : volume;
        };
        globalThis.left?.abort();
        globalThis.left = new AbortController();
        const overlays = [{ name: "box", file: labels, labels: [box] }];
        const viewer = module.makeViewer([{ name: "head.nii", open }], [], overlays, left.signal);
        document.querySelector("main").replaceChildren(viewer);
    """
    assert run("viewer", code, [list(volume), list(labels)]) is None
    expect(page.locator(".controls .hint").first).to_have_text("The volume below the labels is being read.")
    expect(page.get_by_label("Open the volume")).to_have_count(0)
    page.get_by_role("slider", name="Feet to head").press("ArrowRight")
    expect(page.locator(".place")).to_have_text(re.compile("[SI] · box$"))
    page.evaluate("lose()")
    expect(page.locator(".controls .fault")).to_have_text("head.nii is not shown: The server does not answer.")
    expect(page.get_by_label("Open the volume")).to_have_count(1)
    page.get_by_role("button", name="Try again").press("Enter")
    expect(page.locator(".place")).to_contain_text("value")
    expect(page.get_by_role("button", name="Try again")).to_have_count(0)
    expect(page.locator("canvas")).to_be_focused()


def test_labels_are_hidden_while_a_volume_is_read(viewer, page):
    volume, labels = coded(np.diag([2.0, 2, 2, 1]))
    viewer({"head.nii": volume, "stuck.nii": b""}, {"box.nii": labels})
    page.get_by_role("slider", name="Opacity", exact=True).fill("1")
    assert orange(page) > 0.002
    page.get_by_label("Volume", exact=True).select_option("stuck.nii")
    expect(page.locator(".place")).to_have_text("Reading the volume…")
    page.get_by_role("checkbox", name="box").uncheck()
    assert orange(page) == 0


def test_a_volume_with_more_voxels_than_the_graphics_take_is_shown(viewer, page):
    largest = page.evaluate("""() => {
        const gl = document.createElement("canvas").getContext("webgl2");
        return gl.getParameter(gl.MAX_3D_TEXTURE_SIZE);
    }""")
    viewer(made={"long.nii": nifti(np.full((largest + 1, 1, 1), 7, np.uint8), np.eye(4))})
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    expect(page.locator(".place")).to_contain_text("value 7")
    expect(page.locator(".controls .fault")).to_have_count(0)


# Window, zoom, ruler, picture


def test_window_zoom_ruler_and_picture(viewer, page):
    """A CT of 17 million voxels: its windows have names, no work on it blocks the page, and 3D is not drawn unasked."""
    voxels = np.full((512, 512, 65), -1000, np.int16)
    voxels[100:400, 150:380] = 40
    voxels[200:230, 200:230] = 1200
    mask = np.zeros(voxels.shape, np.uint8)
    mask[250:330, 200:300, 20:40] = 1
    affine = np.diag([0.7, 0.7, 3, 1])
    page.evaluate(OBSERVE)
    files = [gzip.compress(nifti(each, affine), 1) for each in (voxels, mask)]
    viewer({"ct.nii.gz": files[0]}, {"box.nii.gz": files[1]}, window={"width": 1280, "height": 800})
    canvas, levels = page.locator("canvas"), page.locator(".levels")
    expect(page.locator(".place")).to_contain_text("value 40 · box")
    assert page.evaluate("document.documentElement.scrollHeight <= innerHeight && canvasShare() > 0.55")
    expect(levels).to_have_text("W 400 L 50")
    for name, told_as in (
        ("Lung", "W 1\u202f500 L -600"),
        ("Bone", "W 1\u202f800 L 400"),
        ("Soft tissue", "W 400 L 50"),
    ):
        page.get_by_role("button", name=name).click()
        expect(levels).to_have_text(told_as)
    frame = canvas.bounding_box()
    middle = (frame["x"] + 0.3 * frame["width"], frame["y"] + 0.5 * frame["height"])
    before = seen(canvas)
    page.mouse.move(*middle)
    page.mouse.down(button="right")
    page.mouse.move(middle[0] + 80, middle[1] - 40, steps=4)
    page.mouse.up(button="right")
    width, level = (float(text.replace("\u202f", "")) for text in levels.text_content()[2:].split(" L "))
    assert width > 500
    assert level > 80
    assert page.get_by_role("slider", name="Window").get_attribute("aria-valuetext") in levels.text_content()
    assert (seen(canvas) != before).any()
    page.get_by_text("Axial", exact=True).click()
    canvas.press("+")
    zoomed = seen(canvas)
    canvas.press("0")
    assert (seen(canvas) != zoomed).any()
    check_ruler(page)
    with page.expect_download() as saved:
        page.get_by_role("button", name="Save").click()
    with Image.open(saved.value.path()) as photo:
        assert photo.size == (round(frame["width"]), round(frame["height"]))
    assert max(page.evaluate("longTasks"), default=0) < 500
    page.get_by_role("button", name="Help").click()
    expect(page.get_by_role("region", name="Mouse and keys")).to_be_visible()
    check_access(page)
    page.keyboard.press("Escape")
    expect(canvas).to_be_focused()


OBSERVE = """() => {
    globalThis.longTasks = [];
    globalThis.canvasShare = () => {
        const { width, height } = document.querySelector("canvas").getBoundingClientRect();
        return (width * height) / (innerWidth * innerHeight);
    };
    const note = (list) => list.getEntries().forEach(({ duration }) => longTasks.push(duration));
    new PerformanceObserver(note).observe({ type: "longtask" });
}"""


def check_ruler(page):
    """A ruler over a known number of voxels, and one along the cross hair's way by keys, tell their mm."""
    canvas = page.locator("canvas")
    rulers = page.locator(".rulers")
    canvas.press("m")
    for _ in range(10):
        canvas.press("ArrowRight")
    canvas.press("m")
    expect(rulers).to_contain_text("Rulers: 7.0 mm")
    page.get_by_text("Ruler", exact=True).click()
    frame = canvas.bounding_box()
    per_mm = 0.97 * min(frame["width"] / (512 * 0.7), frame["height"] / (512 * 0.7))
    start = (frame["x"] + frame["width"] / 2, frame["y"] + frame["height"] / 2)
    page.mouse.move(*start)
    page.mouse.down()
    page.mouse.move(start[0] + 60 * per_mm, start[1] + 80 * per_mm, steps=3)
    page.mouse.up()
    told_mm = re.search(r"([\d.]+) mm$", rulers.locator("span").text_content()).group(1)
    assert float(told_mm) == pytest.approx(100, abs=1)
    page.get_by_role("button", name="Remove").click()
    expect(rulers.locator("span")).to_have_count(0)
    canvas.press("m")
    canvas.press("PageUp")
    canvas.press("m")  # in another slice, from where it begins anew
    expect(rulers).to_have_text("A ruler has begun. M ends it in the same slice.")
    canvas.press("ArrowRight")
    canvas.press("m")
    expect(rulers.locator("span")).to_have_text("Rulers: 0.7 mm")
    canvas.press("Delete")
    expect(rulers).to_have_text("")
