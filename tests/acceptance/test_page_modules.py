"""The page's modules by themselves, in the browser that runs them: archives, arrays, fields, links."""

import gzip
import io
import json
import tarfile
import zipfile

import nibabel
import numpy as np
import pytest
import SimpleITK as sitk
from playwright.sync_api import expect
from pydicom import Dataset
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    RLELossless,
)

from Inputs import BooleanInput, FloatInput, IntInput, PointListInput, SingleChoiceInput, StringInput, VolumeInput
from tests.acceptance.page import status_of
from tests.beside_images import CASES
from tests.browser import check_access, picture
from tests.dicom_series import UID_ROOT, image, series, voxels_of, written, zipped
from tomaat.archives import ArchiveLimits, unpack
from tomaat.archives.pack import pack
from tomaat.client.label import label_of
from tomaat.client.table import Row, write_csv
from tomaat.headers import read_header
from tomaat.services.payload import FORMATS
from tomaat.tickets.priorities import NORMAL, PRIORITIES

# Archives


def test_a_payload_is_an_archive_that_the_server_takes(run, page, tmp_path):
    files = {"main.json": b'{"inputs": {}}', "file-a.nii.gz": bytes(range(256)) * 7, "file-b/12.dcm": b"x" * 512}
    page.evaluate("async () => { globalThis.streams = await import('/static/streams.js'); }")
    code = """
        const members = Object.entries(given).map(([name, bytes]) => ({ name, data: blobOf(bytes) }));
        let seen = 0;
        const packed = await streams.gzip(module.tar(members), (bytes) => { seen = bytes; });
        return [await bytesOf(packed), seen];
    """
    packed, seen = run("tar", code, {name: list(content) for name, content in files.items()})
    with tarfile.open(fileobj=io.BytesIO(bytes(packed))) as archive:
        assert {member.name: archive.extractfile(member).read() for member in archive} == files
    assert seen == len(gzip.decompress(bytes(packed)))
    folder = tmp_path / "in"
    folder.mkdir()
    unpack(iter([bytes(packed)]), folder, ArchiveLimits(largest_upload_bytes=10**6, largest_unpacked_bytes=10**6))
    assert (folder / "file-b/12.dcm").read_bytes() == b"x" * 512


def test_what_is_stopped_before_it_is_sent_is_not_sent(page, run):
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    code = """
        const given = { idempotencyKey: "x", onBytes() {}, signal: AbortSignal.abort() };
        return await module.submit("FloatComputation", new Blob(["x"]), given);
    """
    assert run("api", code).startswith("AbortError")
    assert not any(url.endswith("/request") for url in asked)


def test_a_cohort_that_is_stopped_while_it_packs_refuses_no_case(run):
    code = """
        const { gzip } = await import("/static/streams.js");
        const cohort = module.beginCohort();
        const stopped = new AbortController();
        const packs = () => gzip(new Blob([new Uint8Array(5e6)]), () => stopped.abort(), stopped.signal);
        const cases = [{ of: { label: "a" }, content: {} }, { of: { label: "b" }, content: {} }];
        const thrown = await module.sendMany(cohort, "Dummy", cases, "", packs).catch(({ name }) => name);
        return [thrown, cohort.done.size];
    """
    assert run("send-many", code) == ["AbortError", 0]


def test_a_file_that_changes_before_it_is_packed_is_told(page, run, tmp_path):
    chosen = tmp_path / "scan.nii"
    chosen.write_bytes(bytes(10**6))
    run("dom", "document.querySelector('main').replaceChildren(module.make('input', { type: 'file' }));")
    page.locator("main input").set_input_files(chosen)
    assert page.evaluate("document.querySelector('main input').files[0].size") == 10**6
    chosen.write_bytes(b"other")
    told = run("streams", "return await module.gzip(document.querySelector('main input').files[0]);")
    assert told.startswith("Error: A file cannot be read to its end: it was changed, or its disk was taken out.")


def test_where_the_server_keeps_no_labels_none_is_sent_or_kept(page, run):
    code = """
        const sent = [];
        const cases = [{ of: { label: "anna.nii" }, content: { volumes: new Map() } }];
        await module.sendMany(module.beginCohort(), "Dummy", cases, given, async (each, label) => {
            sent.push(label);
            return { id: 1, token: "t", service: "Dummy", state: "queued" };
        });
        return [sent, localStorage.getItem("tomaat.tickets").includes("anna")];
    """
    assert run("send-many", code, None) == [[None], False]
    page.evaluate("localStorage.clear()")
    assert run("send-many", code, "old") == [["old anna.nii"], True]
    page.evaluate("localStorage.clear()")


def test_a_name_that_no_header_holds_is_refused(run):
    refused = run("tar", "return module.tar([{ name: 'ä'.repeat(51), data: new Blob() }]);")
    assert refused.endswith(f"{'ä' * 51}: longer than 100 bytes.")


def test_a_result_is_taken_apart(run, tmp_path):
    contents = {"result.json": b"{}", "empty": b"", f"{'n' * 64}.nii.gz": b"\x00\x01" * 700}
    members = []
    for place, (name, content) in enumerate(contents.items()):
        (tmp_path / str(place)).write_bytes(content)
        members.append((name, tmp_path / str(place)))
    pack(members, tmp_path / "result.tar.gz")
    code = """
        const { gunzip } = await import("/static/streams.js");
        const files = await module.untar(await gunzip(blobOf(given)));
        const read = [...files].map(async ([name, blob]) => [name, await bytesOf(blob)]);
        return Object.fromEntries(await Promise.all(read));
    """
    read = run("tar", code, list((tmp_path / "result.tar.gz").read_bytes()))
    assert {name: bytes(content) for name, content in read.items()} == contents


@pytest.mark.parametrize(
    ("damage", "told"),
    [
        (lambda archive: archive[:1000], "RangeError: The archive ends within a."),
        (lambda archive: archive[:2048], "RangeError: The archive is cut off."),
        (lambda archive: b"b" + archive[1:], "RangeError: The archive is broken: a header's checksum is wrong."),
    ],
)
def test_a_damaged_result_is_told(run, damage, told):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        info = tarfile.TarInfo("a")
        info.size = 1200
        archive.addfile(info, io.BytesIO(bytes(1200)))
    assert run("tar", "return await module.untar(blobOf(given));", list(damage(buffer.getvalue()))) == told


# Arrays


def numpy_file(array):
    buffer = io.BytesIO()
    np.save(buffer, array)
    return list(buffer.getvalue())


@pytest.mark.parametrize(
    "array",
    [
        *(np.array([0, 1, 100], dtype) for dtype in "bBhHiIqQ"),
        np.array([True, False]),
        np.array([[1.5, -2.25, 1e30], [0.0, 4.0, -1e-30]], np.float32),
        np.asfortranarray(np.arange(24.0).reshape(2, 3, 4)),
        np.arange(5, dtype=">f8"),
        np.array([1.0, -0.5, 65504.0, 6e-8], np.float16),
        np.array(2.5),
        np.zeros((0, 3)),
    ],
    ids=lambda array: f"{array.dtype.str}-{array.shape}",
)
def test_numpys_arrays_are_read(run, array):
    code = "const {shape, values} = module.readNpy(await blobOf(given).arrayBuffer()); return [shape, [...values]];"
    assert run("npy", code, numpy_file(array)) == [list(array.shape), array.astype(float).ravel().tolist()]


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (numpy_file(np.array([1j])), "RangeError: Arrays of the type c16 are not shown."),
        (numpy_file(np.arange(9.0))[:-1], "RangeError: The .npy file is cut off."),
        (list(b"no array at all"), "RangeError: This is no .npy file."),
    ],
)
def test_what_is_no_array_of_numbers_is_told(run, content, told):
    assert run("npy", "return module.readNpy(await blobOf(given).arrayBuffer());", content) == told


# Texts


def test_of_a_long_table_whole_lines_are_shown_and_no_total_is_told(page, run):
    code = """
        document.querySelector("main").replaceChildren(await module.makeTextFile(new Blob([given]), "csv"));
    """
    wide = ",".join(f"column{place}" for place in range(25))
    line = ",".join(["123456"] * 25)
    run("outputs", code, "\n".join([wide, *[line] * 300]))
    rows = page.locator("tbody tr")
    assert set(rows.all_text_contents()) == {"123456" * 20}
    expect(page.locator("main .hint")).to_have_text(["The first 20 of 25 columns.", "Only its beginning is shown."])
    run("outputs", code, "\n".join(["a,b", *["1,2"] * 300]))
    expect(rows).to_have_count(100)
    expect(page.locator("main .hint")).to_have_text(["The first 100 of 300."])
    run("outputs", code, "7" * 30_000)
    expect(page.locator("main pre")).to_have_text("7" * 20_000)


# Results


def test_a_result_of_unknown_size_is_fetched_and_nothing_is_kept_of_one_that_was_left(page, run):
    code = """
        const { fetch, URL: { createObjectURL } } = globalThis;
        let links = 0;
        URL.createObjectURL = () => { links += 1; return ""; };
        const left = new AbortController();
        let body;
        const answer = new Response(new ReadableStream({ start(controller) { body = controller; } }));
        globalThis.fetch = async (path, ...more) => path.startsWith("/result") ? answer : fetch(path, ...more);
        const result = module.makeResult({ id: 1, token: "t" }, {}, left.signal, { onDownload() {} });
        document.querySelector("main").replaceChildren(result);
        body.enqueue(new Uint8Array(3000));
        while (!/\\d/.test(result.textContent)) await new Promise((resolve) => setTimeout(resolve, 10));
        const told = [result.textContent, result.querySelector("progress").hasAttribute("value")];
        left.abort();
        body.close();
        await new Promise((resolve) => setTimeout(resolve, 100));
        Object.assign(globalThis, { fetch });
        Object.assign(URL, { createObjectURL });
        return [...told, links];
    """
    assert run("result", code) == ["Fetching the result: 3 kB", False, 0]


# Fields

INPUTS = [
    VolumeInput("scan", "CT scan", description="Of the thorax."),
    FloatInput("sigma", "Width", minimum=0.1, maximum=20, unit="mm", default=2.0),
    FloatInput("cut", "Cut", minimum=0),
    IntInput("steps", "Steps", minimum=1, maximum=9, default=3),
    StringInput("note", "Note", longest=80, required=False),
    StringInput("report", "Report", default="none"),
    SingleChoiceInput("mode", "Mode", choices=["fast", "exact"]),
    BooleanInput("fill", "Fill holes", default=True),
    BooleanInput("mirror", "Mirror", required=False),
    PointListInput("seeds", "Seeds", coordinates="RAS", most=5),
]
MAKE = """
    document.querySelector("main").replaceChildren();
    globalThis.fields = given.map(module.makeField);
    document.querySelector("main").append(...fields.map((field) => field.element));
"""
READ = "return Object.fromEntries(fields.map((field) => [field.input.id, field.read()]));"


@pytest.fixture
def read(run):
    run("fields", MAKE, [declared.describe() for declared in INPUTS])
    return lambda: run("fields", READ)


def test_each_kind_of_input_has_a_field_that_says_what_it_takes(page, read):
    hints = {
        "scan": ".nii.gz, .nii, .nrrd, .mha; a DICOM folder, or a .zip of one.",
        "sigma": "0.1 to 20 mm; default 2.",
        "cut": "At least 0.",
        "steps": "1 to 9; default 3.",
        "report": "Default: none.",
        "seeds": "One point a line: x y z in mm, x to the patient's right, y to the front, z up; 1 to 5 of them.",
    }
    for declared in INPUTS:
        field = page.locator(f"[data-input={declared.id}]")
        if declared.id in hints:
            expect(field.locator(".hint")).to_have_text(hints[declared.id])
        expect(field.get_by_role("slider")).to_have_count(int(declared.id in {"sigma", "steps"}))
        expect(field.locator(".optional")).to_have_count(int(declared.id in {"note", "mirror"}))
    expect(page.get_by_text("Of the thorax.")).to_be_visible()
    check_access(page)
    picture(page, "fields")
    needed = {"fault": "This is needed."}
    assert read() == {
        "scan": {"fault": "A file is needed."},
        "sigma": {"value": 2},
        "cut": needed,
        "steps": {"value": 3},
        "note": {},
        "report": {"value": "none"},
        "mode": needed,
        "fill": {"value": True},
        "mirror": {},
        "seeds": needed,
    }


def test_what_is_filled_in_is_what_the_server_checks(page, read):
    page.get_by_role("slider", name="Width").fill("4.5")
    page.get_by_role("spinbutton", name="Steps").fill("7")
    expect(page.get_by_role("slider", name="Steps")).to_have_value("7")
    page.get_by_label("Cut").fill("1e-3")
    page.get_by_label("Note").fill("first\u2028")
    page.get_by_label("Report").fill("")
    page.get_by_label("Mode").select_option("exact")
    page.get_by_label("Fill holes").select_option("No")
    page.get_by_label("Mirror").select_option("Yes")
    page.get_by_label("Seeds").fill("1 2 3\n\n-4.5, 0; 1e1")
    page.get_by_label("CT scan").set_input_files({"name": "Head.NII.GZ", "mimeType": "", "buffer": b"x"})
    values = {id: each.get("value") for id, each in read().items() if id != "scan"}
    assert values == {
        "sigma": 4.5,
        "cut": 0.001,
        "steps": 7,
        "note": "first\u2028",
        "report": "",
        "mode": "exact",
        "fill": False,
        "mirror": True,
        "seeds": [[1, 2, 3], [-4.5, 0, 10]],
    }
    for declared in INPUTS[1:]:
        declared.check(values[declared.id])
    assert page.evaluate("fields[0].read().members[0].name") == "file-scan.nii.gz"


def test_what_is_no_value_is_told_at_once(page, read):
    page.get_by_label("Cut").fill("-1")
    page.get_by_label("Seeds").fill("1 2 3\n1 2")
    found = read()
    assert found["cut"] == {"fault": "-1 is not within: at least 0."}
    assert found["seeds"] == {"fault": 'Point 2, "1 2", is not three numbers.'}


def test_a_half_is_no_whole_number_and_a_kind_that_the_page_does_not_know_is_json(page, run):
    described = IntInput("n", "Steps").describe()
    run("fields", MAKE, [described, described | {"id": "x", "name": "Matrix", "type": "matrix"}])
    page.get_by_label("Steps").fill("2.5")
    page.get_by_label("Matrix").fill("[[1, 2")
    assert run("fields", READ) == {
        "n": {"fault": "2.5 is not a whole number."},
        "x": {"fault": "This is not JSON."},
    }
    page.get_by_label("Matrix").fill("[[1, 2]]")
    assert run("fields", READ)["x"] == {"value": [[1, 2]]}


def test_the_default_of_each_input_is_what_its_field_holds(page, run):
    """So that an example, which fills fields as defaults do, arrives as it was declared."""
    declared = [
        FloatInput("a", "A", default=0.1),
        IntInput("b", "B", default=-3),
        StringInput("c", "C", default="two\nlines"),
        SingleChoiceInput("d", "D", choices=["x", "y"], default="y"),
        BooleanInput("e", "E", default=False),
        PointListInput("f", "F", default=[[1, 2, 3.5]]),
    ]
    run("fields", MAKE, [each.describe() for each in declared])
    assert {id: each["value"] for id, each in run("fields", READ).items()} == {
        each.id: each.default for each in declared
    }


def test_what_a_service_asks_of_a_volume_is_told(page, run):
    declared = VolumeInput(
        "scan", "CT", modalities=["CT", "PT"], smallest_dimensions=(64, 64, 20), largest_dimensions=(512, 512, 900),
        spacing_mm=(0.3, 3),
    )  # fmt: skip
    run("fields", MAKE, [declared.describe()])
    expect(page.locator(".hint")).to_have_text(
        ".nii.gz, .nii, .nrrd, .mha; a DICOM folder, or a .zip of one; modality CT or PT; "
        "at least 64 × 64 × 20 voxels; at most 512 × 512 × 900 voxels; voxels of 0.3 to 3 mm."
    )


# NIfTI


def placed(kind, qform, sform, *, codes=(1, 1), order="<", unit="mm"):
    """Make a file whose header names two places, each an affine in mm."""
    image = kind(np.zeros((5, 6, 7), np.int16), None, kind.header_class(endianness=order))
    image.header.set_xyzt_units(unit)
    scale = np.diag([*([1000.0] * 3 if unit == "micron" else [1.0] * 3), 1.0])
    image.header.set_sform(scale @ sform, codes[1])
    image.header.set_qform(scale @ qform, codes[0])
    return image.to_bytes()


def test_a_choice_between_two_places_is_offered_where_the_server_finds_two_that_differ(run, page, tmp_path):
    one, two = nibabel.Nifti1Image, nibabel.Nifti2Image
    turned = np.eye(4)
    turned[:3, :3] = [[0.0, -0.8, 1.2], [1.0, 0.0, 0.0], [0.0, 0.6, 1.6]]  # spacings of 1, 1 and 2 mm
    moved, mirrored = np.array(turned), turned @ np.diag([1, 1, -1, 1])
    moved[:3, 3] = 0.05, 0, 0
    cases = [
        placed(one, np.eye(4), turned),
        placed(one, np.eye(4), turned, codes=(4, 1)),
        placed(one, np.eye(4), turned, codes=(0, 1)),
        placed(one, turned, moved),
        placed(one, mirrored, np.eye(4), codes=(1, 2), order=">"),
        placed(two, turned, mirrored, unit="micron"),
        gzip.compress(placed(two, mirrored, moved, order=">")),
        b"no NIfTI" * 100,
    ]
    code = "return Promise.all(given.map((bytes) => module.twoPlaces(blobOf(bytes))));"
    found = run("nifti-places", code, [list(content) for content in cases])
    for content, places in zip(cases[:-1], found, strict=False):
        path = tmp_path / ("x.nii.gz" if content.startswith(b"\x1f\x8b") else "x.nii")
        path.write_bytes(content)
        told = [remark.detail for remark in read_header(path).remarks if remark.code == "two-places"]
        assert [f"up to {places['apartMm']:.3g} mm apart. The {places['counts']} was" in each for each in told] == (
            [True] if places else []
        )
    assert [places and places["counts"] for places in found] == [
        *("sform", "qform", None, None, "sform", "sform", "sform", None)
    ]
    for content, told in zip(cases[:2], ("sform, as most programs choose", "qform, whose code is higher"), strict=True):
        run("fields", MAKE, [VolumeInput("scan", "CT scan").describe()])
        chosen = {"name": "x.nii", "mimeType": "", "buffer": content}
        page.get_by_label("CT scan", exact=True).set_input_files(chosen)
        expect(page.get_by_label("Its header names two places").locator("option:checked")).to_have_text(f"The {told}")


# Slices


def test_a_slice_has_the_greys_and_of_each_voxel_the_nearest_label_on_the_same_grid_and_on_another(run):
    """Labels along other axes of storage, and of half the spacing along one axis."""
    mask = np.random.default_rng(5).integers(0, 4, (4, 5, 6)).astype(np.uint8)
    code = """
        const { volumeFrom } = await import("/static/volume.js");
        const volume = (voxels, stored, order, ...affine) =>
            volumeFrom({ voxels, stored, order, affine, slope: 1, intercept: 0 });
        const grid = volume([], [4, 5, 6], [1, 2, 3], [2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]);
        const same = volume(given.same, [6, 5, 4], [-3, 2, 1], [0, 0, -2, 6], [0, 2, 0, 0], [2, 0, 0, 0]);
        const fine = volume(given.fine, [8, 5, 6], [1, 2, 3], [1, 0, 0, 0], [0, 2, 0, 0], [0, 0, 2, 0]);
        const { axial, coronal, sagittal } = module.PLANES;
        const slices = [[sagittal, 1], [coronal, 3], [axial, 4]];
        const reds = ({ data }) => [...data].filter((_, at) => at % 4 === 0);
        const greys = slices.map(([plane, at]) => reds(module.greysOf(same, plane, at, 0, 255)));
        const found = [same, fine].map((labels) =>
            slices.map(([plane, at]) => [...module.labelsOf(labels, grid, plane, at)]));
        return [greys, ...found];
    """
    stored = {"same": np.transpose(mask[::-1], (2, 1, 0)), "fine": np.repeat(mask, 2, axis=0)}
    found = run("slices", code, {name: voxels.ravel(order="F").tolist() for name, voxels in stored.items()})
    expected = [each[::-1, ::-1].T.ravel().tolist() for each in (mask[1], mask[:, 3], mask[:, :, 4])]
    assert found == [expected, expected, expected]


def test_the_windows_of_a_ct_are_offered_by_its_modality_else_by_its_values(run):
    names = ["3: Thorax (AX) 1mm (CT)", "LUNG (HR) (CT)", "T2 (CT) (MR)", "scan (AX).nii.gz", "brain (AX)"]
    ranges = [{"least": 0, "most": 100}] * 2 + [{"least": -1000, "most": 900}] * 2 + [{"least": 0, "most": 100}]
    told = run("viewer-window", "return given[0].map((name, at) => module.isCt(name, given[1][at]));", [names, ranges])
    assert told == [True, True, False, True, False]


# DICOM


@pytest.fixture
def exported(tmp_path):
    """A folder as a viewer exports it: two series, and what is none."""
    folder = tmp_path / "exported"
    scans = {
        "scan": series(voxels_of((8, 6, 12)), SeriesNumber=3),
        "deep/scout": series(
            voxels_of((8, 6, 2)), SeriesInstanceUID="1.2.3", SeriesDescription="Scout", SeriesNumber=1
        ),
    }
    for name, images in scans.items():
        (folder / name).mkdir(parents=True)
        for file, content in images.items():
            (folder / name / file).write_bytes(content)
    (folder / "DICOMDIR").write_bytes(image(voxels_of((8, 6, 1))[:, :, 0], SeriesInstanceUID=None))
    (folder / "README.TXT").write_text("Open with a viewer.")
    (folder / ".hidden").write_text("")
    return folder


def test_of_a_folder_the_largest_series_is_sent_and_another_may_be_chosen(page, run, exported):
    run("fields", MAKE, [VolumeInput("scan", "CT scan").describe()])
    page.get_by_label("Choose a DICOM folder").set_input_files(exported)
    choice = page.get_by_label("2 series are in it; the one to send:")
    expect(choice.get_by_role("option")).to_have_text(["3: Köpf axial (CT), 12 images", "1: Scout (CT), 2 images"])
    page.get_by_text("2 files, no DICOM, left out").click()
    expect(page.locator(".which details")).to_contain_text("exported/.hidden, exported/README.TXT")
    check_access(page)
    code = "return fields[0].read().members.map(({name, data}) => [name, data.name]);"
    sent = run("fields", code)
    number = page.get_by_label("Its volume, by number, where a refusal lists several:")
    number.fill("2")
    assert run("fields", "return fields[0].read().value;") == {"volume": 2}
    number.fill("0")
    assert run("fields", "return fields[0].read().fault;") == "The volume's number is a whole number from 1."
    number.fill("")
    assert run("fields", "return 'value' in fields[0].read();") is False
    assert [name for name, _ in sent] == [f"file-scan/{place:02}.dcm" for place in range(1, 13)]
    assert {file for _, file in sent} == {file.name for file in (exported / "scan").iterdir()}
    choice.select_option("1: Scout (CT), 2 images")
    assert [name for name, _ in run("fields", code)] == ["file-scan/1.dcm", "file-scan/2.dcm"]


def test_a_folder_of_studies_and_volumes_becomes_a_case_each(page, run, tmp_path):
    """Of a study the largest series is sent, or another one; it is called after the folder of all of its images."""
    studies = {
        "anna/CT/thin": series(voxels_of((8, 6, 4)), SeriesNumber=3),
        "anna/CT/scout": series(voxels_of((8, 6, 2)), SeriesInstanceUID="1.2.3", SeriesNumber=1),
        "bert/CT": series(voxels_of((8, 6, 3)), StudyInstanceUID="1.2.4", SeriesInstanceUID="1.2.5"),
    }
    for folder, images in studies.items():
        (tmp_path / "ward" / folder).mkdir(parents=True)
        for name, content in images.items():
            (tmp_path / "ward" / folder / name).write_bytes(content)
    (tmp_path / "ward/carl.nii.gz").write_bytes(b"voxels")
    (tmp_path / "ward/notes.txt").write_text("About all.")
    make = MAKE.replace("map(module.makeField)", "map((input) => module.makeField(input, { takesMany: true }))")
    run("fields", make, [VolumeInput("scan", "CT scan").describe()])
    page.get_by_label("Choose a DICOM folder").set_input_files(tmp_path / "ward")
    expect(page.locator(".chosen")).to_contain_text("3 volumes, a ticket each")
    expect(page.locator(".cases li label")).to_have_text(["anna/CT", "bert/CT", "carl.nii.gz"])
    expect(page.locator(".cases li").nth(1)).to_contain_text("Köpf axial (CT)")
    expect(page.locator(".which").first).to_contain_text("ward/notes.txt")
    check_access(page)
    picture(page, "cases")
    code = """
        const { cases, isDicom } = fields[0].read();
        return [isDicom, ...cases.map(({ of, read }) => [of.label, read.members.length, read.members[0].name])];
    """
    assert run("fields", code) == [
        False,
        ["anna/CT", 4, "file-scan/1.dcm"],
        ["bert/CT", 3, "file-scan/1.dcm"],
        ["carl.nii.gz", 1, "file-scan.nii.gz"],
    ]
    page.get_by_label("Series of anna/CT").select_option("1: Köpf axial (CT), 2 images")
    page.get_by_label("bert/CT").uncheck()
    expect(page.locator(".chosen")).to_contain_text("2 of 3 volumes, a ticket each")
    assert run("fields", code)[1:] == [
        ["anna/CT", 2, "file-scan/1.dcm"],
        ["carl.nii.gz", 1, "file-scan.nii.gz"],
    ]
    page.get_by_label("anna/CT", exact=True).uncheck()
    page.get_by_label("carl.nii.gz").uncheck()
    assert run("fields", "return fields[0].read();") == {"fault": "Choose at least one of the volumes."}
    page.get_by_label("Choose a DICOM folder").set_input_files(tmp_path / "ward/anna")
    expect(page.get_by_label("2 series are in it; the one to send:")).to_be_visible()


def test_cases_are_told_apart_by_their_folders_the_dates_of_their_studies_or_numbers(run):
    pixels = voxels_of((8, 6, 1))[:, :, 0]

    def images(*studies):
        named = ({"StudyInstanceUID": study, **({"StudyDate": date} if date else {})} for study, date in studies)
        return [list(image(pixels, SeriesInstanceUID=f"1.2.{place}", **changes)) for place, changes in enumerate(named)]

    code = """
        const files = given.map(([path, bytes]) =>
            Object.defineProperty(new File([new Uint8Array(bytes)], path.replace(/.*\\//, "")), "webkitRelativePath", {
                value: path.includes("/") ? path : "",
            }));
        return (await module.casesIn(files, [".nii.gz"], true)).cases.map(({ label }) => label);
    """
    volumes = ["sub-01/T1w.nii.gz", "sub-02/T1w.nii.gz"]
    assert run("cases", code, [[name, [1]] for name in volumes]) == volumes
    assert run("cases", code, [[f"all/{name}", [1]] for name in volumes]) == volumes
    dated = images(("1.2.7", "20240131"), ("1.2.8", "20250228"))
    assert run("cases", code, [["CD/1.dcm", dated[0]], ["CD/2.dcm", dated[1]]]) == [
        "Köpf axial (CT) 2024-01-31",
        "Köpf axial (CT) 2025-02-28",
    ]
    unnamed = images((None, None), (None, None))
    assert run("cases", code, [["PatA/1", unnamed[0]], ["PatB/1", unnamed[1]]]) == ["PatA", "PatB"]
    same = images(("1.2.7", None), ("1.2.8", None))
    assert run("cases", code, [["CD/1.dcm", same[0]], ["CD/2.dcm", same[1]]]) == [
        "Köpf axial (CT) (1)",
        "Köpf axial (CT) (2)",
    ]


def test_a_table_is_written_as_the_command_line_writes_it(run, tmp_path):
    rows = [
        ('Müller, "A"', "Brain", 7, "succeeded", {"b: left": 1910.072, "b: right": 5.0}),
        ("=cmd", "Brain", None, "refused", {}),
        ("+1", "Brain", 8, "succeeded", {"c: @x": 0.1 + 0.2}),
    ]
    write_csv([Row(*row) for row in rows], tmp_path / "table.csv")
    given = [dict(zip(("label", "service", "ticket", "state", "volumes"), row, strict=True)) for row in rows]
    assert run("csv", "return module.csvOf(given);", given).encode() == (tmp_path / "table.csv").read_bytes()


def test_what_may_be_a_broken_image_of_a_folder_is_refused_by_name(page, run, exported):
    """One slice is empty, of another only the first 500 bytes were copied: its series is not told in them."""
    first, second = sorted((exported / "scan").iterdir())[-2:]
    first.write_bytes(b"")
    second.write_bytes(second.read_bytes()[:500])
    run("fields", MAKE, [VolumeInput("scan", "CT scan").describe()])
    page.get_by_label("Choose a DICOM folder").set_input_files(exported)
    told = page.locator(".chosen")
    expect(told).to_contain_text("2 files may be broken images (empty, cut, or no DICOM): ")
    expect(told).to_contain_text(f": exported/scan/{first.name}, exported/scan/{second.name}. Copy the series again")
    assert "may be broken images" in run("fields", "return fields[0].read();")["fault"]
    check_access(page)


def test_what_lies_beside_images_is_sorted_out_as_the_server_does(run):
    cases = {name: {path: list(data[:200]) for path, data in files.items()} for name, (files, _, _) in CASES.items()}
    code = """
        const named = (files) => Object.entries(files).map(([name, head]) => ({ name, head: new Uint8Array(head) }));
        return Object.fromEntries(Object.entries(given).map(([name, files]) => [name, module.sortOut(named(files))]));
    """
    wanted = {name: {"leftOut": left_out, "doubtful": doubtful} for name, (_, left_out, doubtful) in CASES.items()}
    assert run("beside-images", code, cases) == wanted


def test_of_a_folder_without_dicom_nothing_is_sent(page, run, exported):
    run("fields", MAKE, [VolumeInput("scan", "CT scan").describe()])
    page.get_by_label("CT scan").set_input_files([exported / "README.TXT", exported / "README.TXT"])
    expect(page.locator(".chosen")).to_have_text("None of these 2 files is a DICOM image.")
    page.get_by_label("CT scan").set_input_files(exported / "README.TXT")
    expect(page.locator(".chosen")).to_contain_text("README.TXT is no DICOM image, and does not end in .nii.gz,")
    assert "fault" in run("fields", "return fields[0].read();")
    page.get_by_role("button", name="Remove").click()
    expect(page.get_by_role("status").filter(has_text="or drop a file or a folder here")).to_be_visible()
    expect(page.get_by_label("CT scan")).to_be_focused()


def test_what_was_chosen_last_counts_where_a_folder_was_dropped_before(page, run):
    run("fields", MAKE, [VolumeInput("scan", "CT scan").describe()])
    page.evaluate("""() => {
        const file = new File(["x"], "old.nii");
        const within = [{ isFile: true, fullPath: "/f/old.nii", file: (resolve) => resolve(file) }];
        let first = true;
        const readEntries = (resolve) => {
            if (first) globalThis.goOn = () => resolve(within);
            else resolve([]);
            first = false;
        };
        const folder = { isDirectory: true, createReader: () => ({ readEntries }) };
        const dataTransfer = { items: [{ webkitGetAsEntry: () => folder }], files: [] };
        document.querySelector(".drop").dispatchEvent(Object.assign(new Event("drop"), { dataTransfer }));
    }""")
    chosen = {"name": "new.nii", "mimeType": "", "buffer": b"x"}
    page.get_by_label("CT scan", exact=True).set_input_files(chosen)
    expect(page.locator(".chosen")).to_contain_text("new.nii")
    page.evaluate("goOn()")
    page.evaluate("""() => {
        const sending = document.createElement("fieldset");
        sending.disabled = true;
        document.querySelector("main").replaceChildren(sending);
        sending.append(...fields.map((field) => field.element));
        const dataTransfer = { items: [], files: [new File(["x"], "other.nii")] };
        document.querySelector(".drop").dispatchEvent(Object.assign(new Event("drop"), { dataTransfer }));
    }""")
    page.wait_for_timeout(200)
    expect(page.locator(".chosen")).to_contain_text("new.nii")


def test_a_folder_of_too_many_files_is_refused_and_not_cut(page, run):
    run("fields", MAKE, [VolumeInput("scan", "CT scan").describe()])
    code = """
        const transfer = new DataTransfer();
        for (let place = 0; place <= 20_000; place += 1) transfer.items.add(new File([], `.${place}`));
        const box = document.querySelector("#folder-scan");
        box.files = transfer.files;
        box.dispatchEvent(new Event("change"));
    """
    run("fields", code)
    expect(page.locator(".chosen")).to_have_text("More than 20\u202f000 files: choose the folder of one series.")
    assert "More than" in run("fields", "return fields[0].read();")["fault"]


def test_a_file_that_cannot_be_read_is_told(page, run, exported):
    run("fields", MAKE, [VolumeInput("scan", "CT scan").describe()])
    page.evaluate("() => { globalThis.slice = Blob.prototype.slice; }")
    page.evaluate("() => { Blob.prototype.slice = () => { throw new Error('Gone.'); }; }")
    page.get_by_label("Choose a DICOM folder").set_input_files(exported)
    told = page.locator(".chosen")
    expect(told).to_have_text("A file cannot be read: Gone.")
    assert run("fields", "return fields[0].read();") == {"fault": "A file cannot be read: Gone."}
    page.evaluate("() => { Blob.prototype.slice = slice; }")
    page.get_by_label("Choose a DICOM folder").set_input_files(exported)
    expect(told).to_contain_text("12 images")
    page.evaluate("""() => {
        const readEntries = (_, refuse) => refuse(new DOMException("No entrance."));
        const folder = { isDirectory: true, createReader: () => ({ readEntries }) };
        const event = new Event("drop", { cancelable: true });
        event.dataTransfer = { items: [{ webkitGetAsEntry: () => folder }] };
        document.querySelector(".drop").dispatchEvent(event);
    }""")
    expect(told).to_have_text("A file cannot be read: No entrance.")


def read_head(run, content):
    return run("dicom", "return await module.headOf(blobOf(given));", list(content))


def test_images_that_do_not_name_their_series_are_told_apart_by_their_folders(run):
    deflated = image(voxels_of((8, 6, 1))[:, :, 0], DeflatedExplicitVRLittleEndian)
    code = """
        const file = (take) => take(new File([new Uint8Array(given)], "image"));
        const paths = ["/study/a/1", "/study/b/1", "/study/b/2"];
        const portions = [paths.map((fullPath) => ({ isFile: true, fullPath, file })), []];
        const folder = { isDirectory: true, createReader: () => ({ readEntries: (take) => take(portions.shift()) }) };
        const files = await module.dropped({ items: [{ webkitGetAsEntry: () => folder }] });
        return (await module.seriesIn(files)).map(({ images }) => images.length);
    """
    assert run("files", code, list(deflated)) == [2, 1]


@pytest.mark.parametrize("syntax", [ExplicitVRLittleEndian, ImplicitVRLittleEndian], ids=["explicit", "implicit"])
@pytest.mark.parametrize("open_ended", [False, True])
def test_the_series_is_found_behind_sequences_of_any_form(run, syntax, open_ended):
    inner = Dataset()
    inner.ReferencedSOPInstanceUID = "1.2"
    inner.is_undefined_length_sequence_item = open_ended
    outer = Dataset()
    outer.ReferencedSeriesSequence = [inner]
    outer.is_undefined_length_sequence_item = open_ended
    outer["ReferencedSeriesSequence"].is_undefined_length = open_ended
    content = image(
        voxels_of((8, 6, 1))[:, :, 0],
        syntax,
        ReferencedStudySequence=[outer],
        SeriesInstanceUID="1.2.840.9",
        StudyDate="20260102",
    )
    assert read_head(run, content) == {
        "uid": "1.2.840.9",
        "study": f"{UID_ROOT}1",
        "date": "2026-01-02",
        "about": "Köpf axial (CT)",
        "cut": False,
    }


def test_descriptions_are_read_in_their_characters(run):
    content = image(voxels_of((8, 6, 1))[:, :, 0], SpecificCharacterSet="ISO_IR 192", SeriesDescription="頭部 CT")
    assert read_head(run, content)["about"] == "頭部 CT (CT)"


def test_a_head_that_is_cut_off_or_deflated_is_one_of_a_series_without_a_name(run):
    whole = image(voxels_of((8, 6, 1))[:, :, 0])
    assert read_head(run, whole[:250])["uid"] == ""
    deflated = image(voxels_of((8, 6, 1))[:, :, 0], DeflatedExplicitVRLittleEndian)
    assert read_head(run, deflated) == {"uid": "", "study": "", "date": "", "about": "", "cut": False}
    assert read_head(run, whole[:100]) is None
    assert read_head(run, bytes(400)) is None


# A series as a volume

OBLIQUE = np.array([[0.6, 0, 1.6, -12.5], [0, 0.9, 0, 33], [0.8, 0, -1.2, 4], [0, 0, 0, 1]])
CT_LIKE = {"RescaleSlope": 1, "RescaleIntercept": -1024}


def made_volume(run, tmp_path, files):
    """What the page makes of a series, and what SimpleITK reads of it."""
    code = """
        return await bytesOf(await module.volumeOf(given.map(blobOf)));
    """
    content = run("dicom-volume", code, [list(data) for data in reversed(files.values())])
    assert isinstance(content, list), content
    (tmp_path / "series.nii").write_bytes(bytes(content))
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(written(files, tmp_path / "series"))))
    return sitk.ReadImage(tmp_path / "series.nii"), reader.Execute()


@pytest.mark.parametrize("affine", [np.diag([0.7, 0.5, 3, 1]), OBLIQUE], ids=["axial", "oblique"])
@pytest.mark.parametrize(
    ("voxels", "changes"),
    [
        (voxels_of((7, 6, 5)) - 300, CT_LIKE),
        (voxels_of((7, 6, 5)).astype(np.uint16) + 40_000, {"RescaleSlope": 0.25}),
        ((voxels_of((7, 6, 5)) // 4).astype(np.uint8), {}),
        (voxels_of((7, 6, 5)) - 300, CT_LIKE | {"BitsStored": 12, "HighBit": 11}),
        (voxels_of((7, 6, 1)), {}),
    ],
    ids=["int16", "uint16", "uint8", "12-bits", "one-slice"],
)
def test_a_series_becomes_the_volume_that_simpleitk_reads(run, tmp_path, affine, voxels, changes):
    made, expected = made_volume(run, tmp_path, series(voxels, affine, **changes))
    assert np.allclose(sitk.GetArrayFromImage(made), sitk.GetArrayFromImage(expected), atol=1e-3)
    assert made.GetSize() == expected.GetSize()
    assert np.allclose(made.GetOrigin(), expected.GetOrigin(), atol=1e-4)
    assert np.allclose(made.GetDirection(), expected.GetDirection(), atol=1e-6)
    assert np.allclose(made.GetSpacing(), np.linalg.norm(affine[:3, :3], axis=0)), "of one slice its thickness"


def test_the_bits_that_a_voxel_does_not_use_are_not_looked_at(run, tmp_path):
    voxels = np.array([-5, 4], np.int16).reshape(2, 1, 1)
    dirty = (voxels.view(np.uint16) & 0x0FFF | 0x3000).view(np.int16)
    made, _ = made_volume(run, tmp_path, series(dirty, BitsStored=12, HighBit=11))
    assert sitk.GetArrayFromImage(made).ravel().tolist() == [-5, 4]


def test_images_that_are_rescaled_each_by_its_own_slope_are_right(run, tmp_path):
    files = {
        **series(voxels_of((3, 3, 1)), RescaleSlope=0.5),
        "z": image(voxels_of((3, 3, 1))[:, :, 0].T, RescaleSlope=2.5, ImagePositionPatient=[0, 0, 2]),
    }
    made, _ = made_volume(run, tmp_path, files)
    slices = sitk.GetArrayFromImage(made)
    assert np.allclose(slices, [voxels_of((3, 3, 1))[:, :, 0].T * slope for slope in (0.5, 2.5)])
    assert made.GetSpacing()[2] == 2


@pytest.mark.parametrize(
    ("files", "told"),
    [
        (series(voxels_of((8, 6, 2)), syntax=RLELossless), "are compressed, and this page cannot unpack them."),
        (series(voxels_of((8, 6, 2)), Rows=3), "are not of a kind that this page can show."),
        (series(voxels_of((8, 6, 2)), PixelSpacing=None), "are not of a kind that this page can show."),
    ],
    ids=["compressed", "other-size", "no-geometry"],
)
def test_a_series_that_cannot_be_shown_says_so(run, files, told):
    code = "return await module.volumeOf(given.map(blobOf));"
    assert run("dicom-volume", code, [list(data) for data in files.values()]).endswith(told)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_the_images_of_a_zip_are_those_that_were_packed(run, method):
    files = series(voxels_of((8, 6, 3)))
    code = """
        const read = (await module.unzip(blobOf(given))).map(async (file) => [file.name, await bytesOf(file)]);
        return Object.fromEntries(await Promise.all(read));
    """
    read = run("zip", code, list(zipped(files, method)))
    assert {name: bytes(content) for name, content in read.items()} == files
    assert run("zip", code, list(b"PK no zip")) == "Error: This is no zip archive, or a part of one."


# The result's format


def test_the_formats_are_those_that_the_server_makes(page, run):
    run("format-field", """
        globalThis.formatField = module.makeFormatField();
        document.querySelector("main").replaceChildren(formatField.element);
    """)  # fmt: skip
    choice = page.get_by_label("Result format")
    offered = choice.get_by_role("option").evaluate_all("options => options.map((option) => option.value)")
    assert offered == list(FORMATS)
    assert page.evaluate("formatField.read(false)") == {}
    for wanted in FORMATS[1:]:
        choice.select_option(wanted)
        assert page.evaluate("formatField.read(true)") == {"outputs": {"format": wanted}}
    assert "It refers to DICOM images" in page.evaluate("formatField.read(false).fault")
    check_access(page)


def test_the_priorities_are_those_that_the_server_takes(page, run):
    run("priority-field", """
        globalThis.priorityField = module.makePriorityField();
        document.querySelector("main").replaceChildren(priorityField.element);
    """)  # fmt: skip
    choice = page.get_by_label("Priority")
    offered = choice.get_by_role("option").evaluate_all("options => options.map((option) => option.value)")
    assert offered == ["", *(each for each in PRIORITIES if each != NORMAL)]
    choice.select_option("night")
    assert page.evaluate("priorityField.read()") == "night"


# The label


@pytest.mark.parametrize(
    "name", ["Anna.nii.gz", "x" * 60 + "y" * 500 + "-t1.nii.gz", " one\ntwo\0 ", "turned\u202e", "👍" * 101]
)
def test_a_label_is_made_of_a_name_as_the_client_makes_it(run, name):
    assert run("label-field", "return module.labelOf(given);", name) == label_of(name)


def test_the_label_follows_what_is_chosen_and_stays_empty_where_somebody_emptied_it(page, run):
    run("label-field", """
        globalThis.labelField = module.makeLabelField();
        document.querySelector("main").replaceChildren(labelField.element);
    """)  # fmt: skip
    box = page.get_by_role("textbox", name="Label")
    box.fill("written first")
    page.evaluate("labelField.suggest('z.nii')")
    assert page.evaluate("labelField.read()") == "written first"
    page.evaluate("labelField.suggest('a.nii')")
    expect(box).to_have_value("a.nii")
    box.fill("my head")
    page.evaluate("labelField.suggest('a.nii')")
    assert page.evaluate("labelField.read()") == "my head"
    page.evaluate("labelField.suggest('b.nii')")
    assert page.evaluate("labelField.read()") == "b.nii", "the old name would be another volume's"
    box.fill("")
    page.evaluate("labelField.suggest('c.nii')")
    assert page.evaluate("labelField.read()") == ""
    check_access(page)


# Links


@pytest.mark.parametrize("token", ["aB-_9", "with/slash & ünlaut"])
def test_a_link_leads_to_its_ticket(run, token):
    code = "return module.placeOf(module.ticketLink(given));"
    assert run("links", code, {"id": 7, "token": token}) == {"view": "ticket", "id": 7, "token": token}


def test_the_address_of_a_ticket_holds_its_token_only_if_the_store_would_not_find_it(run, page):
    code = """
        localStorage.setItem("tomaat.tickets", JSON.stringify(given.slice(1)));
        return given.map(module.ticketPlace);
    """
    tickets = [{"id": 7, "token": "unknown"}, {"id": 8, "token": "new"}, {"id": 8, "token": "old"}]
    assert run("links", code, tickets) == ["#/tickets/7/unknown", "#/tickets/8", "#/tickets/8/old"]
    page.evaluate("localStorage.clear()")
    assert run("links", "return module.placeOf(given);", "#/tickets/7") == {"view": "ticket", "id": 7, "token": None}


@pytest.mark.parametrize("fragment", ["", "#", "#/", "#/tickets/x/y", "#/services/%E0%A4%A", "#nonsense"])
def test_a_broken_link_leads_to_the_start(run, fragment):
    assert run("links", "return module.placeOf(given);", fragment) == {"view": "overview"}


# What is asked of the server


@pytest.fixture
def answered(run, page):
    """Let requests be answered as the test says, and use the API's module."""

    def use(code, answers):
        faked = f"""
            const fetched = globalThis.fetch;
            const asked = [];
            globalThis.fetch = async (path, {{ signal, headers }}) => {{
                asked.push(`${{path}} ${{headers?.Authorization ?? "alone"}}`);
                const [status, body] = given[Math.min(asked.length, given.length) - 1];
                const stops = new ReadableStream({{ start(line) {{
                    line.enqueue(new TextEncoder().encode(body));
                    signal.addEventListener("abort", () => line.error(signal.reason));
                    if (body !== "[1,") line.close();
                }} }});
                return new Response(stops, {{ status }});
            }};
            const lost = new Promise((resolve) => setTimeout(resolve, 20000, "asks for ever"));
            try {{ return await Promise.race([lost, (async () => {{ {code} }})()]); }}
            finally {{ globalThis.fetch = fetched; }}
        """
        return run("api", faked, answers)

    return use


@pytest.mark.parametrize("status", [200, 503])
def test_an_answer_that_stops_amid_its_body_is_none(answered, status):
    code = 'return await module.ask("/supportedservices", {}, 0.2);'
    assert answered(code, [[status, "[1,"]]) == "Error: The server does not answer."


def test_an_answer_that_stops_amid_its_body_is_given_up_with_its_view(answered):
    code = """
        const left = new AbortController();
        const asking = module.ask("/supportedservices", { signal: left.signal }, 1000);
        setTimeout(() => left.abort(new Error("left")), 100);
        return await asking.catch(() => left.signal.aborted);
    """
    assert answered(code, [[200, "[1,"]]) is True


def test_the_page_of_a_proxy_is_no_answer_of_the_server(answered):
    code = """
        try { return await module.services(); } catch (error) { return [error.kind, error.message]; }
    """
    assert answered(code, [[200, "<h1>Who are you?</h1>"]]) == [
        "about:blank",
        "Something in front of the server answered in its place.",
    ]
    assert answered(code, [[502, "<h1>Bad gateway</h1>"]]) == ["about:blank", "The server answered 502."]
    refusal = {"type": "/problems/busy", "title": "Busy", "status": 429, "detail": "It is busy."}
    assert answered(code, [[429, json.dumps(refusal)]]) == ["busy", "It is busy."]


def test_a_proxy_that_was_down_for_a_moment_does_not_put_tokens_into_addresses(answered):
    code = """
        for (const _ of ["first", "second"]) await module.status({ id: 1, token: "t" }).catch(() => {});
        return asked;
    """
    header, address = "/status/1 Bearer t", "/status/1&t alone"
    down, up = [401, "<h1>Who are you?</h1>"], [200, "{}"]
    assert answered(code, [down, down, up]) == [header, address, header]
    assert answered(code, [down, up, up]) == [header, address, address]


# A ticket


def test_a_problem_of_the_api_is_told_in_the_pages_words(run):
    error = {
        "type": "/problems/waited-too-long",
        "title": "No compute source was free in time",
        "status": 409,
        "detail": "Dummy: no compute source ran the ticket within 24 hours.",
    }
    told = error | {
        "title": "No computer was free in time",
        "detail": "Dummy: no computer ran the ticket within 24 hours.",
    }
    assert run("ticket-texts", "return module.problemOf({ error: given });", error) == told


# The list of services


def test_what_a_service_that_is_away_does_with_tickets_is_told(run):
    told = run("overview", "return module.serviceText(given);", {"available": False})
    assert told == "Not live. The computer for it is away or paused. Tickets wait, and fail if that lasts too long"
    why = "No compute source takes it now: here/gpu-0 is drained."
    told = run("overview", "return module.serviceText(given);", {"available": False, "why_unavailable": why})
    assert told == (
        "Not live. No computer takes it now: here/gpu-0 is paused. Tickets wait, and fail if that lasts too long"
    )


def test_a_ticket_whose_end_nobody_knows_says_why(run):
    status = {"state": "queued", "eta_seconds": None, "why_waiting": "here/gpu-0 is drained.", "started": None}
    told = run("ticket-texts", "return module.moreOf(given);", {**status, "compute_source": "here/gpu-0"})
    assert told == "No end is in sight: here/gpu-0 is paused. On here/gpu-0."
    told = run("ticket-texts", "return module.moreOf(given);", {**status, "state": "submitted", "compute_source": None})
    assert told == "No end is in sight: here/gpu-0 is paused."


# Drawing


def test_an_element_is_drawn_again_only_when_the_values_that_it_was_drawn_from_change(run):
    code = """
        const place = module.make("div");
        let draws = 0;
        const show = (...values) => {
            module.redraw(place, values, () => { draws += 1; return [module.make("button", {}, values.join(" "))]; });
            return [draws, place.textContent, place.firstElementChild];
        };
        const [first, same, changed] = [show(1, "a"), show(1, "a"), show(2, "a")];
        module.fill(place, "by hand");
        const after = show(2, "a");
        return [first, same, changed, after].map((each) => each.slice(0, 2)).concat([first[2] === same[2]]);
    """
    assert run("dom", code) == [[1, "1 a"], [1, "1 a"], [2, "2 a"], [3, "2 a"], True]


# A table of tickets


def test_a_row_that_has_the_focus_keeps_it_while_others_come_and_go(run, page):
    code = """
        const seen = (...ids) => table.show(ids.map((id) => ({ id, state: "queued", again_of: null })), "");
        const actions = { cancel: () => undefined, runAgain: () => undefined };
        const table = module.makeTable("Tickets", module.ticketColumns(actions, ["ticket", "actions"]), "None.");
        document.querySelector("main").replaceChildren(table.element);
        seen(5, 4, 3, 2, 1);
        const button = table.element.querySelectorAll("tbody tr")[2].querySelector("button");
        button.focus();
        const kept = given.map((ids) => { seen(...ids); return document.activeElement === button; });
        return [kept, [...table.element.querySelectorAll("tbody th")].map((cell) => Number(cell.textContent))];
    """
    steps = [[6, 5, 4, 3, 2], [3, 2], [8, 7, 3], [9, 8, 7, 3], [3]]
    assert run("queues-table", code, steps[:-1]) == [[True] * 4, steps[-2]]
    assert run("queues-table", code, steps) == [[True] * 5, steps[-1]]


def test_a_table_of_a_cohort_keeps_its_rows_and_the_focus_while_it_changes(run):
    code = """
        const table = module.makeCohortTable();
        document.querySelector("main").replaceChildren(table.element);
        const line = { label: "a", service: "S", ticket: 1, token: "t", state: "queued", volumes: {} };
        table.show([line]);
        const link = table.element.querySelector("a");
        link.focus();
        const done = { ...line, state: "succeeded", volumes: { "b: left": 1.5 } };
        table.show([{ ...line, ticket: 0, token: "u" }, done, { ...line, ticket: null, token: undefined, why: "No." }]);
        const texts = [...table.element.querySelectorAll("tr")].map((row) => row.textContent);
        return [document.activeElement === link, texts];
    """
    assert run("cohort-table", code) == [True, ["LabelStateb: left (ml)", "aWaits", "aDone1.5", "aRefused: No."]]


# What the browser keeps


@pytest.fixture
def kept(run, page):
    """Use the store on tickets from before, the newest first; answer how often it wrote, and which are kept then."""

    def use(code, tickets):
        done = f"""
            localStorage.setItem("tomaat.tickets", JSON.stringify(given));
            const setItem = Storage.prototype.setItem;
            let writes = 0;
            Storage.prototype.setItem = function (...what) {{ writes += 1; setItem.apply(this, what); }};
            try {{ {code} }} finally {{ Storage.prototype.setItem = setItem; }}
            return [writes, module.tickets()];
        """
        return run("store", done, tickets)

    yield use
    page.evaluate("localStorage.clear()")


def ticket(number, token="t", **more):  # noqa: S107 (no password)
    return {
        "id": number, "token": token, "service": "Dummy", "created": "2026-01-02T03:04:05Z", "state": "queued", **more
    }  # fmt: skip


def test_what_was_forgotten_meanwhile_does_not_come_back(kept):
    code = "module.forgetAll(); module.update({ ...given[0], state: 'running' });"
    assert kept(code, [ticket(1)]) == [1, []]


def test_a_ticket_of_another_token_with_the_same_number_is_another_one(kept):
    old, new = ticket(1, "old"), ticket(1, "new")
    assert kept("module.forget({ id: 1, token: 'old' });", [new, old]) == [1, [new]]
    code = "module.update({ id: 1, token: 'new', state: 'failed' });"
    assert kept(code, [new, old]) == [1, [new | {"state": "failed"}, old]]


def test_what_is_kept_is_written_when_it_changed_and_without_what_is_not_asked_for(kept):
    code = "module.update({ ...given[0] }); module.keep({ ...given[1] });"
    before = [ticket(2), ticket(1)]
    assert kept(code, before) == [0, before]
    code = "module.keep({ ...given[0], id: 3, links: {} }); module.keep({ ...given[0], state: 'running' });"
    assert kept(code, before) == [2, [ticket(3), ticket(2, state="running"), ticket(1)]]


def test_what_cannot_be_written_is_kept_in_the_tab_and_its_table_says_so(kept):
    code = """
        const { makeCohortView } = await import("/static/cohort-view.js");
        const { ticketPlace } = await import("/static/links.js");
        const { setItem } = Storage.prototype;
        const texts = () => {
            const view = makeCohortView("ab", AbortSignal.abort());
            return [view.querySelectorAll("tbody tr").length, view.querySelector(".trouble").hidden];
        };
        Storage.prototype.setItem = () => { throw new Error("It is full."); };
        module.keep({ ...given[0], id: 2, token: "u" });
        module.update({ ...given[0], state: "running" });
        const now = module.tickets().map(({ id, state }) => [id, state]);
        const full = [now, ticketPlace({ id: 2, token: "u" }), texts()];
        Storage.prototype.setItem = setItem;
        module.update({ ...given[0], state: "queued" });
        throw new Error(JSON.stringify([full, ticketPlace({ id: 2, token: "u" }), texts()]));
    """
    told = kept(code, [ticket(1, cohort="ab")])
    assert json.loads(told.removeprefix("Error: ")) == [
        [[[2, "queued"], [1, "running"]], "#/tickets/2/u", [2, False]],
        "#/tickets/2",
        [2, True],
    ]


def test_of_a_cohort_one_notification_tells_the_end(run, page):
    code = """
        const { Notification } = globalThis;
        const told = [];
        globalThis.Notification = class {
            static permission = "granted";
            constructor(title, { body }) { told.push(`${title}, ${body}`); }
        };
        document.hasFocus = () => false;
        localStorage.setItem("tomaat.notices", "yes");
        localStorage.setItem("tomaat.tickets", JSON.stringify(given));
        for (const each of given) module.update({ ...each, state: "succeeded" });
        globalThis.Notification = Notification;
        delete document.hasFocus;
        return told;
    """
    told = run("store", code, [ticket(1, cohort="ab"), ticket(2, cohort="ab"), ticket(3)])
    page.evaluate("localStorage.clear()")
    assert told == ["Dummy: All ended, 2 tickets", "Dummy: Done, Ticket 3"]


def test_a_cohort_that_is_being_sent_has_not_ended_with_its_first_tickets(run, page):
    """The first one ends before the second one is sent. Its table, open meanwhile, takes the second one in."""
    ended = json.dumps(status_of(state="succeeded", label=None))
    page.route("**/status/*", lambda route: route.fulfill(body=ended))
    page.route("**/result/*/result.json", lambda route: route.fulfill(body='{"outputs": []}'))
    code = """
        const { makeCohortView } = await import("/static/cohort-view.js");
        const { tellCohort } = await import("/static/notices.js");
        const { Notification } = globalThis;
        const [main, told, left] = [document.querySelector("main"), [], new AbortController()];
        globalThis.Notification = class {
            static permission = "granted";
            constructor(title, { body }) { told.push(`${title}, ${body}`); }
        };
        document.hasFocus = () => false;
        localStorage.setItem("tomaat.notices", "yes");
        const until = async (text) => {
            for (let tries = 0; tries < 400 && !main.textContent.includes(text); tries += 1)
                await new Promise((resolve) => setTimeout(resolve, 50));
            return [main.querySelector(".about").textContent, main.querySelectorAll("tbody tr").length, told.length];
        };
        const cohort = module.beginCohort();
        const cases = ["a", "b"].map((label) => ({ of: { label }, content: { volumes: new Map() } }));
        const seen = [];
        await module.sendMany(cohort, "Dummy", cases, "", async ({ of }) => {
            if (of.label === "b") {
                main.replaceChildren(makeCohortView(cohort.id, left.signal));
                seen.push(await until("Done"));
            }
            return { id: 1, token: of.label, service: "Dummy", state: "queued" };
        });
        tellCohort(cohort.id);
        seen.push(await until("all ended"));
        left.abort();
        globalThis.Notification = Notification;
        delete document.hasFocus;
        return [seen, told];
    """
    seen, told = run("send-many", code)
    page.evaluate("localStorage.clear()")
    page.unroute_all()
    assert seen == [
        ["1 volume, 0 of them on their way; others are being sent.", 1, 0],
        ["2 volumes, all ended.", 2, 1],
    ]
    assert told == ["Dummy: All ended, 2 tickets"]


def test_a_volume_that_was_sent_belongs_to_its_ticket_and_not_to_another_one_of_its_number(run):
    code = """
        module.keepSent({ id: 1, token: "old" }, new Map([["head", { name: "old.nii" }]]));
        return [module.sentWith({ id: 1, token: "new" }).size, module.sentWith({ id: 1, token: "old" }).size];
    """
    assert run("store", code) == [0, 1]


def test_of_too_many_tickets_those_that_ended_go_first(kept):
    before = [ticket(number, state="queued" if number % 2 else "succeeded") for number in range(1000, 0, -1)]
    _, after = kept("module.keep({ ...given[0], id: 1001, state: 'succeeded' });", before)
    assert [each["id"] for each in after] == [1001, *(number for number in range(1000, 0, -1) if number != 2)]
    _, after = kept("module.keep({ ...given[0], id: 1001 });", [ticket(number) for number in range(1000, 0, -1)])
    assert [each["id"] for each in after] == list(range(1001, 1, -1))


def test_numbers_are_written_as_people_read_them(run):
    code = "return given.map(([name, ...values]) => module[name](...values));"
    asked = [
        ["inBytes", 0],
        ["inBytes", 1],
        ["inBytes", 999],
        ["inBytes", 238_754],
        ["inBytes", 2_147_483_648],
        ["inTime", 0.2],
        ["inTime", 41],
        ["inTime", 59],
        ["inTime", 5400],
        ["inDigits", 1234567.891],
        ["inDigits", 1e-7],
        ["inDigits", 1234567],
        ["inDigits", -2147483647],
        ["inDigits", 2**60],
        ["inDigits", 1e300],
        ["inDigits", 1234567, 4],
        ["inDigits", 2147483647, 4],
        ["counted", 12345, "ticket"],
        ["counted", 1, "ticket"],
        ["counted", 2, "ticket"],
    ]
    told = run("words", code, json.loads(json.dumps(asked)))
    assert [text.replace("\u202f", " ") for text in told] == [
        *("0 bytes", "1 byte", "999 bytes", "239 kB", "2.1 GB", "1 s", "40 s", "1 min", "1.5 h"),
        *("1 234 570", "1e-7", "1 234 567", "-2 147 483 647", "1.15292e+18", "1e+300", "1 235 000", "2.147e+9"),
        *("12 345 tickets", "1 ticket", "2 tickets"),
    ]


def test_a_sentence_of_the_api_loses_whole_words_only(run):
    said = "A token and tokens of a compute source; a tokenizer stays."
    plain = "A access code and access codes of a computer; a tokenizer stays."
    assert run("words", "return module.inPlainWords(given);", said) == plain
