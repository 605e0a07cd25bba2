"""What the workers' group may see of a ticket's files, and until when."""

import os
import stat

import pytest

from tomaat.processes.misconfigured import Misconfigured
from tomaat.storage import Storage, loans

GROUP = os.getegid() if os.geteuid() != 0 else 65534


@pytest.fixture
def storage(tmp_path):
    base = tmp_path / "storage"
    base.mkdir(mode=0o700)
    made = Storage(base, workers_group=GROUP)
    made.prepare()
    return made


@pytest.fixture
def folder(storage):
    with storage.receiving() as made:
        (made.inputs / "main.json").write_text("{}")
        (made.inputs / "file-scan").mkdir()
        (made.inputs / "file-scan/1.dcm").write_text("voxels")
    return storage.folder_of(made.name)


def mode(path):
    status = path.stat()
    assert status.st_gid == GROUP or not stat.S_IMODE(status.st_mode) & 0o070
    return f"{stat.S_IMODE(status.st_mode):o}"


def test_the_group_enters_where_tickets_lie_and_nowhere_else(storage):
    assert [mode(path) for path in (storage.base, storage.tickets)] == ["710", "710"]
    assert [mode(path) for path in (storage.incoming, storage.quarantine, storage.temporary)] == ["700"] * 3


def test_a_base_that_everybody_enters_stays_as_it_is(tmp_path):
    tmp_path.chmod(0o755)
    Storage(tmp_path, workers_group=GROUP).prepare()
    assert oct(tmp_path.stat().st_mode)[-3:] == "755"


def test_a_base_of_somebody_else_is_told(tmp_path, monkeypatch):
    def refuse(path, *_):
        raise PermissionError(1, "not permitted", str(path))

    monkeypatch.setattr(loans, "let_enter", refuse)
    with pytest.raises(Misconfigured, match="cannot be opened to the workers"):
        Storage(tmp_path, workers_group=GROUP).prepare()


def test_an_input_is_lent_to_read_and_closed_at_the_end(storage, folder):
    before = oct(folder.path.stat().st_mode)[-3:]
    assert before == "700"
    assert storage.lend_input(folder.name) == folder.inputs
    modes = [mode(folder.inputs / name) for name in (".", "main.json", "file-scan", "file-scan/1.dcm")]
    assert [mode(folder.path), *modes] == ["710", "750", "640", "750", "640"]
    storage.end_loan(folder.name)
    assert mode(folder.path) == "700"
    storage.end_loan("gone")


def test_lending_twice_changes_nothing(storage, folder):
    storage.lend_input(folder.name)
    changed = (folder.inputs / "main.json").stat().st_ctime_ns
    storage.lend_input(folder.name)
    assert (folder.inputs / "main.json").stat().st_ctime_ns == changed


def test_a_link_in_an_input_is_not_lent(storage, folder, tmp_path):
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    (folder.inputs / "link").symlink_to(secret)
    with pytest.raises(OSError, match="link is a link"):
        storage.lend_input(folder.name)
    assert oct(secret.stat().st_mode)[-3:] == "600"


def test_without_a_group_nothing_is_lent(tmp_path):
    storage = Storage(tmp_path)
    storage.prepare()
    with storage.receiving() as folder:
        (folder.inputs / "main.json").touch(mode=0o600)
    inputs = storage.lend_input(folder.name)
    assert oct((inputs / "main.json").stat().st_mode)[-3:] == "600"
    out = storage.folder_of(folder.name).claim("1")
    storage.make_claim_folder(out)
    assert oct(out.stat().st_mode)[-3:] == "700"


def test_a_result_is_taken_back_before_it_is_sealed(storage, folder):
    out = folder.claim("1")
    storage.make_claim_folder(out)
    assert [mode(out.parent), mode(out)] == ["710", "770"]
    draft = out / "draft"
    draft.write_text("a result")
    draft.chmod(0o660)
    storage.seal_result(draft)
    assert [mode(out), mode(out / "result.tar.gz")] == ["700", "600"]


@pytest.mark.parametrize("what", ["a link", "a second name", "a pipe", "a folder"])
def test_what_is_no_file_of_its_own_becomes_no_result(storage, folder, tmp_path, what):
    out = folder.claim("1")
    storage.make_claim_folder(out)
    secret = tmp_path / "secret"
    secret.write_text("of the doors alone")
    secret.chmod(0o600)
    draft = out / "draft"
    make = {"a link": lambda: draft.symlink_to(secret), "a second name": lambda: os.link(secret, draft)}
    make |= {"a pipe": lambda: os.mkfifo(draft), "a folder": draft.mkdir}
    make[what]()
    with pytest.raises(OSError, match="is no file of its own"):
        storage.seal_result(draft)
    assert not (out / "result.tar.gz").exists()


def test_what_earlier_claims_have_left_goes_when_a_ticket_is_claimed_again(tmp_path):
    storage = Storage(tmp_path)
    outs = [tmp_path / "tickets/folder/out" / name for name in ("1-aa", "2-bb", "3-cc", "3-dd")]
    for out in outs:
        (out / "files").mkdir(parents=True)
    storage.make_claim_folder(outs[2])
    assert sorted(out.name for out in outs[0].parent.iterdir()) == ["3-cc", "3-dd"], "3-dd is another database's"
    assert list(outs[2].iterdir()) == []
