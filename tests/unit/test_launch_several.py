import socket
import time
from types import SimpleNamespace

from tomaat.launch import several
from tomaat.launch.several import run_several
from TOMAATSettings import Settings

PROGRAM = """
import os, pathlib, signal, sys, time
folder, number = pathlib.Path(__file__).parent, sys.argv[2]
def end(*_):
    (folder / f"asked-{number}").touch()
    while len(list(folder.glob("asked-*"))) < 3:
        time.sleep(0.02)
    time.sleep(0.5)
    (folder / f"ended-{number}").touch()
    sys.exit()
signal.signal(signal.SIGTERM, end)
(folder / f"began-{number}").touch()
time.sleep(600)
"""


def test_all_processes_are_asked_to_end_together_and_waited_for(tmp_path):
    program = tmp_path / "Standin.py"
    program.write_text(PROGRAM)
    settings = Settings(WEB_PROCESSES=3, BASE_STORAGE_DIR=tmp_path / "storage")

    def sleep(seconds):
        time.sleep(seconds)
        return len(list(tmp_path.glob("began-*"))) == 3

    with socket.create_server(("127.0.0.1", 0)) as bound:
        run_several(program, settings, [bound], SimpleNamespace(sleep=sleep))
        assert bound.fileno() == -1, "nobody connects to a door that ends"
    assert len(list(tmp_path.glob("ended-*"))) == 3
    assert list((tmp_path / "storage/tmp").iterdir()) == [], "what they counted goes with them"


def test_containers_of_one_hosts_name_and_address_count_apart(tmp_path, monkeypatch):
    settings = Settings(WEB_PROCESSES=3, BASE_STORAGE_DIR=tmp_path)
    folders = []
    for network in (1, 2, 1):
        monkeypatch.setattr(several, "network_namespace", lambda number=network: number)
        folders.append(several._empty_folder(settings))
        assert list(folders[-1].iterdir()) == []
        (folders[-1] / "counter_1.db").touch()
    assert folders[0] == folders[2] != folders[1]
    assert [path.name for path in folders[1].iterdir()] == ["counter_1.db"], "nobody else empties it"
