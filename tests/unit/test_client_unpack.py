import json
import tarfile

import pytest

from tests.stub_server import SUM, archive, result
from tomaat.client import Damaged, Unusable
from tomaat.client.result import Result
from tomaat.client.unpack import unpack_result

RECORD = ("result.json", json.dumps(SUM).encode())
VOLUME = {"service": "Brain", "outputs": [{"name": "brain", "type": "labels", "file": "b.nii", "preview": "p.png"}]}


def special(name, kind, target=""):
    member = tarfile.TarInfo(name)
    member.type = kind
    member.linkname = target
    return member


def unpack(folder, data, *, replace=False):
    folder.mkdir(exist_ok=True)
    packed = folder.parent / "packed"
    packed.write_bytes(data)
    unpack_result(packed, folder, replace=replace)


@pytest.mark.parametrize(
    "name",
    [
        "../up",
        "/abs",
        "a/b",
        "..",
        ".hidden",
        "a\\b",
        "c:d",
        "a\x1b[2J",
        "a\n",
        "x" * 201,
        "end.",
        " a",
        "a\u202eb",
        "q?",
    ],
)
def test_a_name_that_is_not_plain_is_refused(tmp_path, name):
    with pytest.raises(Damaged, match="no plain file"):
        unpack(tmp_path / "out", archive((name, b"x"), RECORD))
    assert list((tmp_path / "out").iterdir()) == []
    assert {path.name for path in tmp_path.iterdir()} == {"out", "packed"}


@pytest.mark.parametrize(
    "member",
    [
        special("link", tarfile.SYMTYPE, "/etc/passwd"),
        special("link", tarfile.LNKTYPE, "result.json"),
        special("pipe", tarfile.FIFOTYPE),
        special("disk", tarfile.BLKTYPE),
        special("folder", tarfile.DIRTYPE),
    ],
    ids=lambda member: f"{member.name} {member.type}",
)
def test_what_is_no_plain_file_is_refused(tmp_path, member):
    with pytest.raises(Damaged, match="no plain file"):
        unpack(tmp_path / "out", archive(RECORD, member))
    assert list((tmp_path / "out").iterdir()) == []


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        pytest.param(archive(("a", b"x")), "result.json", id="no record"),
        pytest.param(archive(("result.json", b"{")), "cannot be unpacked", id="half a record"),
        pytest.param(archive(("result.json", b"[]")), "lists no outputs", id="a list"),
        pytest.param(archive(("result.json", b'{"outputs": [1]}')), "lists what is no output", id="a number"),
        pytest.param(archive(("a", b"1"), ("a", b"2"), RECORD), "is there twice", id="a name twice"),
        pytest.param(result(VOLUME, b_nii=b"x"), r"the file p\.png is missing", id="a file is missing"),
        pytest.param(result({"outputs": [{"name": "a", "file": "../../secret"}]}), "no plain file name", id="a way up"),
        pytest.param(b"no archive", "cannot be unpacked", id="no archive"),
        pytest.param(result()[:-30], "cannot be unpacked", id="cut short"),
    ],
)
def test_what_is_no_result_is_refused_and_nothing_of_it_kept(tmp_path, data, sentence):
    with pytest.raises(Damaged, match=sentence):
        unpack(tmp_path / "out", data)
    assert list((tmp_path / "out").iterdir()) == []


def test_outputs_are_values_and_files_by_their_names(tmp_path):
    both = {**VOLUME, "outputs": [*VOLUME["outputs"], *SUM["outputs"]]}
    unpack(tmp_path / "out", result(both, b_nii=b"voxels", p_png=b"picture"))
    unpacked = Result(tmp_path / "out")
    assert dict(unpacked) == {"brain": tmp_path / "out" / "b.nii", "sum": 3}
    assert unpacked["brain"].read_bytes() == b"voxels"
    assert unpacked.files == [tmp_path / "out" / "b.nii", tmp_path / "out" / "p.png"]
    assert unpacked.record["service"] == "Brain"


def test_an_older_result_is_replaced_with_all_its_files(tmp_path):
    out = tmp_path / "out"
    unpack(out, result(VOLUME, b_nii=b"1", p_png=b"1"))
    (out / "notes.txt").write_text("mine")
    unpack(out, result(SUM))
    assert {path.name for path in out.iterdir()} == {"result.json", "notes.txt"}
    assert dict(Result(out)) == {"sum": 3}


def test_a_file_of_somebody_elses_is_not_overwritten(tmp_path):
    out = tmp_path / "out"
    out.mkdir()
    (out / "b.nii").write_text("mine")
    with pytest.raises(Unusable, match=r"b\.nii exists already"):
        unpack(out, result(VOLUME, b_nii=b"1", p_png=b"1"))
    assert [path.name for path in out.iterdir()] == ["b.nii"]
    assert (out / "b.nii").read_text() == "mine"
    unpack(out, result(VOLUME, b_nii=b"1", p_png=b"1"), replace=True)
    assert (out / "b.nii").read_text() == "1"
