"""Results as a real browser shows them, against the real service; the pictures lie in .cache/screenshots."""

import io
import json
import re
import tarfile

import numpy as np
import pytest
from PIL import Image
from playwright.sync_api import expect
from pydicom.uid import RLELossless

from tests.acceptance.page import PHONE, chosen, head, problem, send_slowly, small_volume
from tests.acceptance.test_page_viewer import mha, nifti, nrrd, settled
from tests.browser import check_access, fits, picture, seen
from tests.dicom_series import series, voxels_of, written, zipped


def is_orange(canvas):
    """The share of a canvas that has the first label's colour, mixed with what lies below."""
    pixels = settled(canvas).astype(int)
    return ((pixels[..., 0] - pixels[..., 2]) > 60).mean()


def deleted(page):
    """Let the service have the volumes that were sent no longer."""
    gone = {"status": 410, "body": problem(410, "expired"), "content_type": "application/problem+json"}
    page.context.route("**/input/**", lambda route: route.fulfill(**gone))


def test_the_brain_of_a_real_head_is_seen_over_it_in_three_planes_and_in_3d(visit, service):
    service.wait_until_ready("BrainExtraction")
    visitor = visit()
    page = visitor.open("#/services/BrainExtraction")
    page.get_by_label("T1-weighted MRI").set_input_files(chosen("T1.nii.gz", head()))
    picture(page, "brain-form")
    check_access(page)
    send_slowly(page, lambda: (picture(page, "brain-sending"), check_access(page)))
    expect(page.locator(".told")).to_contain_text("Runs")
    picture(page, "brain-running")
    expect(page.get_by_text("Done.", exact=True)).to_be_visible()
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    expect(page.get_by_role("img", name="Brain, on three planes")).to_be_visible()
    expect(page.locator(".legend tbody")).to_contain_text(re.compile(r"brain\s*1\u202f\d{3} ml"))
    expect(page.locator(".place")).to_contain_text(re.compile(r"value [\d.]+ · brain"))
    canvas = page.locator("canvas")
    assert is_orange(canvas) > 0.1  # before a picture of the whole page, for which it is drawn anew
    check_access(page)
    picture(page, "brain")
    page.get_by_role("slider", name="Opacity", exact=True).fill("0")
    assert is_orange(canvas) < 0.01
    page.get_by_role("slider", name="Opacity", exact=True).fill("1")
    page.get_by_role("checkbox", name="brain").uncheck()
    assert is_orange(canvas) < 0.01
    page.get_by_role("checkbox", name="brain").check()
    page.get_by_text("Coronal", exact=True).click()
    dark = seen(canvas).mean()
    page.get_by_role("slider", name="Level").fill("10")
    assert seen(canvas).mean() > dark + 5
    page.get_by_text("3D", exact=True).click()
    assert is_orange(canvas) > 0.02
    page.get_by_text("Where it comes from").click()
    expect(page.get_by_text("BrainExtraction, version deepbet-1.0.2")).to_be_visible()

    page.reload()  # which has forgotten the file: the service still has it
    expect(page.locator(".place")).to_contain_text(re.compile(r"value [\d.]+ · brain"))
    expect(page.locator(".controls .fault")).to_have_count(0)
    phone = visit(**PHONE, dark=True)
    small = phone.open(page.locator("#link").input_value().partition(service.url + "/")[2])
    expect(small.locator(".place")).to_contain_text(re.compile(r"value [\d.]+ · brain"))
    assert fits(small)
    check_access(small)
    picture(small, "brain-phone-dark")
    open_it_again(page)


def open_it_again(page):
    """Once the service has the volume no longer, the labels are seen alone until it is opened."""
    deleted(page)
    page.reload()
    expect(page.locator(".controls .fault")).to_have_text(re.compile("^Sent: .* is not shown: It is expired."))
    check_access(page)
    picture(page, "labels-alone")
    assert is_orange(page.locator("canvas")) > 0.1
    page.locator("#open-volume").set_input_files(chosen("other.nii.gz", small_volume()))
    other = page.get_by_text("It may be another volume than the one that was sent")
    expect(other).to_contain_text("on another grid than the labels")
    expect(page.locator(".place")).to_have_text(re.compile("[SI] · brain$"))
    picture(page, "other-grid")
    page.locator("#open-volume").set_input_files(chosen("T1.nii.gz", head()))
    expect(page.get_by_role("slider", name="Window")).to_be_visible()


def test_a_volume_is_shown_with_the_one_that_was_sent(visit):
    page = visit(dark=True).open("#/services/GaussianSmoothing")
    page.get_by_label("CT or MRI volume").set_input_files(chosen("T1.nii.gz", head()))
    page.get_by_role("slider", name="Standard deviation").fill("4")
    expect(page.get_by_role("spinbutton", name="Standard deviation")).to_have_value("4")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    volume = page.get_by_label("Volume", exact=True)
    expect(volume.get_by_role("option")).to_have_text(["Smoothed", "Sent: T1.nii.gz"])
    smooth = seen(page.locator("canvas"))
    volume.focus()
    volume.select_option("Sent: T1.nii.gz")
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    expect(volume.locator("option:checked")).to_have_text("Sent: T1.nii.gz")
    expect(volume).to_be_focused()
    assert (seen(page.locator("canvas")) != smooth).any()
    check_access(page)
    picture(page, "smoothed-dark")


@pytest.fixture
def ball(own_service, tmp_path):
    """A service that marks what is bright, and a DICOM series of a bright ball; asked for by one page alone."""
    (tmp_path / "tasks").mkdir()
    (tmp_path / "tasks/BrightTask.py").write_text(BRIGHT)
    instance = own_service(CUSTOM_TASKS_DIR=str(tmp_path / "tasks"))
    instance.start()
    instance.wait_until_ready("Bright")
    i, j, k = np.indices((48, 40, 20))
    voxels = np.where((i - 20) ** 2 + (j - 20) ** 2 + (2 * k - 20) ** 2 < 12**2, 900, 100).astype(np.int16)
    sin, cos = np.sin(0.35), np.cos(0.35)  # the patient's head lies turned by 20 degrees
    turned = np.array([[cos, -sin, 0, 0], [sin, cos, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1]])
    return instance.url, series(voxels, turned @ np.diag([2, 2, 4, 1]))


BRIGHT = """
from Inputs import BooleanInput, VolumeInput
from tomaat.services import Task
from tomaat.volumes import Labels

class BrightTask(Task):
    task_identifier = "Bright"
    description = "Marks what is bright."
    inputs = [VolumeInput("scan", "Scan"), BooleanInput("inverted", "Inverted too", default=False)]

    def perform(self, scan, inverted):
        ball = {"ball": Labels(volume=scan.like(scan.array > 500), names={1: "ball"})}
        return ball | {"inverted": scan.like(1000 - scan.array)} if inverted else ball
"""


def test_a_dicom_series_is_seen_under_its_labels_from_a_folder_a_zip_and_again_after_a_reload(visit, ball, tmp_path):
    url, images = ball
    page = visit(url).open("#/services/Bright")
    page.get_by_label("Choose a DICOM folder").set_input_files(written(images, tmp_path / "scan"))
    expect(page.get_by_text("20 images,")).to_be_visible()
    picture(page, "dicom-form")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    expect(page.locator(".controls")).to_contain_text("Sent: Köpf axial (CT)")
    canvas = page.locator("canvas")
    assert is_orange(canvas) > 0.02
    expect(page.locator(".place")).to_contain_text("value 900 · ball")  # the place that is looked at first
    page.get_by_role("slider", name="Opacity", exact=True).fill("0")
    assert brightest_is_round(canvas)
    check_access(page)
    picture(page, "dicom-result")
    page.reload()
    expect(page.locator(".place")).to_contain_text("value 900 · ball")
    deleted(page)
    page.reload()
    page.locator("#open-folder").focus()
    page.locator("#open-folder").set_input_files(tmp_path / "scan")
    expect(page.locator(".place")).to_contain_text(re.compile("value (100|900)"))
    expect(page.get_by_text("on another grid")).to_be_hidden()
    expect(canvas).to_be_focused()  # what was opened is seen, and its picker gone
    page.goto(f"{url}/#/services/Bright")
    page.get_by_label("Scan").set_input_files(chosen("scan.zip", zipped(images | {"viewer.exe": b"MZ"})))
    page.get_by_label("Result format").select_option("dicom-seg")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".place")).to_contain_text("value 900 · ball")
    expect(page.get_by_role("img", name="Ball, on three planes")).to_be_visible()
    for file in ("ball.dcm", "ball.nii.gz"):
        expect(page.get_by_role("link", name=file)).to_be_visible()
    remarks = page.get_by_role("list", name="How the inputs were read")
    expect(remarks).to_have_text("scan: 1 file of the zip archive, no DICOM, left out: 'viewer.exe'.")
    check_access(page)
    picture(page, "dicom-seg")


def test_what_was_sent_is_opened_again_beside_a_volume_that_was_made(visit, ball):
    url, images = ball
    page = visit(url).open("#/services/Bright")
    page.get_by_label("Scan").set_input_files(chosen("scan.zip", zipped(images)))
    page.get_by_label("Inverted too").select_option("Yes")
    page.get_by_role("button", name="Send").click()
    place = page.locator(".place")
    expect(place).to_contain_text("value 900 · ball")
    deleted(page)
    page.reload()
    expect(place).to_contain_text("value 100 · ball")
    check_access(page)
    page.evaluate("() => { globalThis.slice = Blob.prototype.slice; }")
    page.evaluate("() => { Blob.prototype.slice = () => { throw new Error('Gone.'); }; }")
    page.locator("#open-volume").focus()
    page.locator("#open-volume").set_input_files(chosen("scan.zip", zipped(images)))
    expect(page.get_by_text("A file cannot be read: Gone.")).to_be_visible()
    expect(page.locator("#open-volume")).to_be_focused()
    page.evaluate("() => { Blob.prototype.slice = slice; }")
    page.locator("#open-volume").set_input_files(chosen("scan.zip", b"PK no zip"))
    expect(page.get_by_text("scan.zip is not shown: This is no zip archive, or a part of one.")).to_be_visible()
    page.locator("#open-volume").set_input_files(chosen("scan.zip", zipped(images)))
    expect(place).to_contain_text("value 900 · ball")
    expect(page.locator("#open-volume")).to_be_hidden()
    page.get_by_label("Volume", exact=True).select_option("Inverted")
    expect(place).to_contain_text("value 100 · ball")
    expect(page.get_by_text("on another grid")).to_be_hidden()


def brightest_is_round(canvas):
    """Whether a bright ball, and not noise, stands in the picture: much of it is as bright as can be."""
    return (seen(canvas).min(axis=2) > 200).mean() > 0.02


def test_a_compressed_series_is_told_not_to_be_shown_and_its_labels_are_shown_alone(visit, ball, tmp_path):
    url, _ = ball
    images = series(np.where(voxels_of((16, 16, 8)) > 300, 900, 100).astype(np.int16), syntax=RLELossless)
    page = visit(url).open("#/services/Bright")
    page.get_by_label("Choose a DICOM folder").set_input_files(written(images, tmp_path / "compressed"))
    expect(page.get_by_text("8 images,")).to_be_visible()
    deleted(page)
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_text("The images of this DICOM series are compressed")).to_be_visible()
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    expect(page.locator(".legend tbody")).to_contain_text("ball")
    check_access(page)
    picture(page, "compressed-series")
    page.context.unroute_all()
    page.reload()
    expect(page.locator(".place")).to_contain_text("value 900 · ball")  # the service can read them


def test_where_nothing_was_found_the_picture_is_told_to_be_empty(visit, ball):
    url, _ = ball
    page = visit(url).open("#/services/Bright")
    page.get_by_label("Scan").set_input_files(chosen("dark.nii.gz", small_volume()))
    page.get_by_role("button", name="Send").click()
    expect(page.get_by_role("img", name="Ball, empty, on three planes through the middle")).to_be_visible()
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    check_access(page)


@pytest.fixture(scope="module")
def others():
    """Volumes of a bright box that NiiVue places elsewhere than the service, and a DICOM series, by their names."""
    voxels = np.full((12, 10, 8), 100, np.int16)
    voxels[7:10, 2:5, 3:6] = 900
    square = nifti(voxels, np.diag([0.8, 0.9, 2.5, 1]))
    return {
        "no-code.nii": b"".join((square[:252], bytes(4), square[256:])),
        "micrometres.nii": nifti(voxels, np.diag([800, 900, 2500, 1.0]), xyzt_units=3),
        "no-space.nrrd": nrrd(voxels, "spacings: 0.8 0.9 2.5"),
        "size.mha": mha(voxels, "ElementSize = 0.8 0.9 2.5"),
    }


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        ("nrrd", ["no-code.nii", "micrometres.nii"]),
        pytest.param("mha", ["no-space.nrrd", "size.mha"], marks=pytest.mark.thorough),
        pytest.param("seg.nrrd", ["scan.zip"], marks=pytest.mark.thorough),
    ],
    ids=["nrrd", "mha", "seg.nrrd"],
)
def test_labels_in_another_format_are_seen_over_what_the_service_read(visit, ball, others, wanted, names):
    url, images = ball
    page = visit(url).open()
    for name in names:
        page.goto(f"{url}/#/services/Bright")
        page.get_by_label("Scan").set_input_files(chosen(name, others.get(name) or zipped(images)))
        page.get_by_label("Result format").select_option(wanted)
        page.get_by_role("button", name="Send").click()
        expect(page.locator(".place")).to_contain_text("value 900 · ball")
        expect(page.locator(".controls .fault")).to_have_count(0)
        assert is_orange(page.locator("canvas")) > 0.02
        expect(page.get_by_role("link", name=f"ball.{wanted}")).to_be_visible()


def test_the_example_of_a_volume_says_that_it_is_a_phantom_and_shows_a_result(visit, service):
    service.wait_until_ready("BrainExtraction", "InnerEarSegmentation", "GaussianSmoothing")
    page = visit().open("#/services/BrainExtraction")
    page.get_by_role("button", name="Fill in the example").click()
    expect(page.get_by_text("phantom_head.nii.gz,")).to_be_visible()
    expect(page.get_by_text("A phantom: a head drawn by code, nobody's scan.")).to_be_visible()
    check_access(page)
    picture(page, "example")
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".legend tbody")).to_contain_text(re.compile(r"brain\s*1\u202f[6-9]\d\d ml"))
    picture(page, "example-brain")
    page = visit().open("#/services/InnerEarSegmentation")
    page.get_by_role("button", name="Fill in the example").click()
    expect(page.get_by_text("phantom_inner_ear.nii.gz,")).to_be_visible()
    page.get_by_role("button", name="Send").click()
    expect(page.locator(".legend tbody")).to_contain_text("inner ear")
    expect(page.locator(".viewer")).to_have_attribute("data-state", "ready")
    picture(page, "example-inner-ear")


def numpy_file(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def test_texts_tables_plots_and_pictures_are_shown_as_such(visit):
    """A real ticket, whose result is exchanged for one that has every kind of output."""
    dot = io.BytesIO()
    Image.new("RGB", (40, 20), (30, 120, 140)).save(dot, "PNG")
    files = {
        "curve.npy": numpy_file(np.sin(np.linspace(0, 12, 3000))),
        "matrix.npy": numpy_file(np.arange(6.0).reshape(2, 3)),
        "huge.npy": numpy_file(np.zeros(9_000_000, np.uint8)),
        "heavy.npy": numpy_file(np.zeros(9_000_000)),
        "broken.dcm": b"no volume",
        "picture.png": dot.getvalue(),
        "table.csv": b"name,ml\nliver,1500\nspleen,200\n",
        "page.html": b"<script>document.title = 'taken over'</script>",
    }
    outputs = [
        {"name": "broken", "type": "labels", "file": "broken.dcm", "labels": [{"value": 1}]},
        {"name": "nothing", "type": "json"},
        {"name": "report", "type": "text", "value": "Nothing <b>bold</b> was found."},
        {"name": "score", "type": "json", "value": 0.8712345},
        {"name": "by_side", "type": "json", "value": {"left": 1.5, "right": [1, 2, 3]}},
        {"name": "rows", "type": "json", "value": [{"organ": "liver", "ml": 1500.5}, {"organ": "spleen", "ml": 200}]},
        {"name": "history", "type": "json", "value": [n * n for n in range(40)]},
        *({"name": name, "type": "array", "file": f"{name}.npy"} for name in ("curve", "huge", "heavy", "matrix")),
        *(
            {"name": name.split(".")[0], "type": "file", "file": name}
            for name in ("picture.png", "table.csv", "page.html")
        ),
    ]
    manifest = {"service": "FloatComputation", "version": "1", "outputs": outputs, "inputs": {}}
    manifest["timings_seconds"] = {"perform": 133.4, "pack": 0.0423}
    files["result.json"] = json.dumps(manifest | {"weights_sha256": None, "compute_source": "test/cpu-0"}).encode()
    visitor = visit()
    visitor.context.route(
        "**/result/*", lambda route: route.fulfill(body=packed(files), content_type="application/gzip")
    )
    page = visitor.open("#/services/FloatComputation")
    page.get_by_role("button", name="Fill in the example").click()
    page.get_by_role("button", name="Send").click()
    values = page.locator("dl.values")
    expect(values).to_contain_text("Nothing <b>bold</b> was found.")
    expect(values).to_contain_text("0.871235")
    expect(values.get_by_role("row")).to_contain_text(
        ["left1.5", "right1, 2, 3", "organml", "liver1\u202f500.5", "spleen200"]
    )
    expect(page.get_by_role("img", name="A line through 40 numbers between 0 and 1\u202f521")).to_be_visible()
    expect(page.get_by_role("img", name="A line through 3000 numbers between -1 and 1")).to_be_visible()
    expect(page.get_by_text("2 × 3 numbers, 0 to 5, mean 2.5.")).to_be_visible()
    for cannot in (
        "Huge cannot be shown here; see the download. It has 9\u202f000\u202f000 numbers, more than this page reads.",
        "Heavy cannot be shown here; see the download. It has 72 MB, more than this page reads.",
        "Nothing cannot be shown here; see the download. Something is not as this page expects it.",
        "The volumes cannot be shown here; see the download. Something is not as this page expects it.",
    ):
        expect(page.get_by_text(cannot)).to_be_visible()
    expect(page.get_by_role("img", name="Picture")).to_be_visible()
    expect(page.get_by_role("cell", name="spleen").last).to_be_visible()
    check_access(page)
    picture(page, "outputs")
    page.get_by_text("Where it comes from").click()
    expect(page.locator(".about-result")).to_contain_text("Time: perform2 min 13 sTime: pack42 ms")
    with page.expect_download() as download:
        page.get_by_role("link", name="page.html").click()
    assert download.value.suggested_filename == "page.html"
    assert "taken over" not in page.title()


def packed(files):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()
