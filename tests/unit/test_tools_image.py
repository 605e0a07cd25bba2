from pathlib import Path

from tools import image, image_check


def test_the_build_gets_pip_as_it_is_set_up_here(monkeypatch, tmp_path):
    program = tmp_path / "python"
    wheels = tmp_path / "wheels"
    wheels.mkdir()
    (wheels / "own.pem").write_text("a certificate")
    listed = [
        "global.find-links='wheels'",
        rf"global.extra-index-url='file://{wheels}\nhttps://name:word@packages.example.org/simple'",
        f":env:.cert='{wheels}/own.pem'",
        "global.timeout='180'",
    ]
    program.write_text("\n".join(["#!/bin/sh", "cat <<'END'", *listed, "END"]))
    program.chmod(0o755)
    monkeypatch.setattr(image.sys, "executable", str(program))
    monkeypatch.chdir(tmp_path)
    configuration = image.pip_configuration()
    assert configuration["find-links"] == str(wheels)
    with image.lent_to_pip(configuration) as (file, volumes):
        assert file.read_text() == (
            f"[global]\nfind-links = {wheels}\n"
            f"extra-index-url = file://{wheels} https://name:word@packages.example.org/simple\n"
            "cert = /run/lent-to-pip/own.pem\ntimeout = 180\n"
        )
        assert volumes == {wheels: str(wheels), tmp_path: str(tmp_path), file.parent: "/run/lent-to-pip"}
        assert (file.parent / "own.pem").read_text() == "a certificate"
        assert file.parent.stat().st_mode & 0o077 == 0
    assert not file.exists()
    assert image_check.secrets() == {"name:word@packages.example.org"}


def test_what_may_not_be_in_an_image_is_found(tmp_path):
    names = {
        "opt/tomaat/WebService.py": None,
        "opt/tomaat/tests/test_it.py": "/opt/tomaat also holds tests",
        "root/.cache/pip/wheel": "/root/.cache is left over from the build",
        "etc/ssl/private/own.key": "/etc/ssl/private/own.key may be a key",
        "storage/ticket": "/storage/ticket lies in a folder for what is written later",
    }
    for name in names:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("text")
    assert set(image_check.faults_of_files(tmp_path, 1000)) == set(names.values()) - {None}
    path = tmp_path / "opt/tomaat/WebService.py"
    path.chmod(0o666)
    assert list(image_check.faults_of_file(path, "opt/tomaat/WebService.py", [b"ex"])) == [
        "can be written by others than root",
        "names where packages came from",
    ]


def test_what_a_run_has_changed_is_found_outside_of_the_places_for_that(tmp_path):
    for name in ("etc/passwd", "usr/bin/python3", "storage/ticket", "tmp/file", "etc/hosts"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("before")
    before = image_check.looks(tmp_path)
    assert before.keys() == {"etc/passwd", "usr/bin/python3"}
    for name in ("storage/ticket", "tmp/other", "etc/passwd", "usr/bin/new"):
        Path(tmp_path / name).write_text("written later")
    assert image_check.different(before, image_check.looks(tmp_path)) == {"etc/passwd", "usr/bin/new"}
