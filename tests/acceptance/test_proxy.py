"""nginx, as Debian has it, in front of the service with the configuration that this repository ships."""

import contextlib
import functools
import io
import json
import os
import re
import socket
import ssl
import subprocess
import tarfile
import textwrap
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest
import requests

from tests.acceptance.test_access import keys
from tests.hostile_images import nifti
from tests.needs import need
from tests.service import REPOSITORY, free_port

NGINX = "/usr/sbin/nginx"
SHIPPED = REPOSITORY / "deploy/nginx/tomaat.conf"
SMALL_VOLUME = nifti()
UPLOAD_BYTES = 100 * 1024**2
TASK = """
import os, time
from Inputs import FloatInput, VolumeInput
from tomaat.services import Task

class Weigh(Task):
    task_identifier = "Weigh"
    description = "Passes the time and returns two megabytes."
    inputs = (VolumeInput("scan", "Scan", required=False), FloatInput("seconds", "How long", default=0.0))
    def perform(self, scan, seconds):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            self.progress(0.5, "waiting")
            time.sleep(0.05)
        return {"noise": os.urandom(1024**2).hex()}
"""
MAIN = """
{user}
worker_processes 1;
pid {folder}/nginx.pid;
error_log {folder}/error.log info;
events {{ worker_connections 256; }}
http {{
    access_log {folder}/access.log;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    include {folder}/tomaat.conf;
}}
"""


class Proxy:
    """nginx with the shipped file; only names, ports, paths and the certificate are its own."""

    def __init__(self, folder, *upstream_ports):
        self.folder = folder
        self.port = free_port()
        self.plain_port = free_port()
        self.url = f"https://localhost:{self.port}"
        self.certificate = str(folder / "tomaat.pem")
        subprocess.run(
            [
                *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
                *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost", "-days", "2"),
                *("-keyout", folder / "tomaat.key", "-out", self.certificate),
            ],
            check=True,
            capture_output=True,
        )
        text = SHIPPED.read_text()
        for old, new in {
            "listen 443 ssl": f"listen 127.0.0.1:{self.port} ssl",
            "listen [::]:443 ssl;": "",
            "listen 80;": f"listen 127.0.0.1:{self.plain_port};",
            "listen [::]:80;": "",
            "/etc/ssl/tomaat.pem": self.certificate,
            "/etc/ssl/private/tomaat.key": str(folder / "tomaat.key"),
            "/var/log/nginx": str(folder),
            "server 127.0.0.1:5000;": " ".join(f"server 127.0.0.1:{port};" for port in upstream_ports),
            "tomaat.example.org": "localhost",
        }.items():
            assert old in text, old
            text = text.replace(old, new)
        (folder / "tomaat.conf").write_text(text)
        user = "user root;" if os.geteuid() == 0 else ""
        (folder / "nginx.conf").write_text(MAIN.format(folder=folder, user=user))
        self.command = [NGINX, "-e", str(folder / "error.log"), "-c", str(folder / "nginx.conf")]

    def check(self):
        return subprocess.run([*self.command, "-t"], capture_output=True, text=True, check=False)

    def start(self):
        self.process = subprocess.Popen([*self.command, "-g", "daemon off;"], stderr=subprocess.DEVNULL)
        for _ in range(200):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        raise AssertionError((self.folder / "error.log").read_text())

    def stop(self):
        self.process.terminate()
        self.process.wait(20)

    def ask(self, method, path, **options):
        return requests.request(method, self.url + path, verify=self.certificate, timeout=90, **options)

    def raw(self, data):
        """Send bytes as they are; return what comes back before the connection is closed."""
        context = ssl.create_default_context(cafile=self.certificate)
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=20) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as connection,
        ):
            connection.sendall(data)
            return connection.recv(65536)

    def open_files(self):
        """Name what nginx's workers have open, removed files included."""
        for worker in psutil.Process(self.process.pid).children():
            for descriptor in Path(f"/proc/{worker.pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    yield str(descriptor.readlink())

    def logs(self):
        return {path.name: path.read_text(errors="replace") for path in self.folder.glob("*.log")}


class Upload(io.RawIOBase):
    """A multipart form whose payload is as large as wanted, never whole in memory."""

    def __init__(self, head, size, tail):
        self.parts = [io.BytesIO(head), None, io.BytesIO(tail)]
        self.left = size
        self.total = len(head) + size + len(tail)

    def __len__(self):
        return self.total

    def read(self, count=-1):
        for part in self.parts:
            if part is None:
                data = os.urandom(min(self.left, 65536 if count < 0 else count))
                self.left -= len(data)
            else:
                data = part.read(count)
            if data:
                return data
        return b""


def payload(voxels_bytes, **inputs):
    """A payload with a volume that gzip cannot make smaller."""
    buffer = io.BytesIO()
    side = 1024
    deep = max(1, voxels_bytes // side**2)
    image = bytearray(SMALL_VOLUME[:352])
    image[40:56] = b"".join(number.to_bytes(2, "little") for number in (3, side, side, deep, 1, 1, 1, 1))
    image[70:74] = (2).to_bytes(2, "little") + (8).to_bytes(2, "little")
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        members = {"main.json": json.dumps({"inputs": inputs}).encode()}
        if voxels_bytes:
            members["file-scan.nii"] = bytes(image) + os.urandom(side * side * deep)
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@pytest.fixture(scope="module")
def instance(tmp_path_factory, make_service):
    folder = tmp_path_factory.mktemp("tasks")
    (folder / "WeighTask.py").write_text(textwrap.dedent(TASK))
    made = make_service(CUSTOM_TASKS_DIR=str(folder), API_KEYS="always")
    made.key = keys(made, "make", "radiology").stdout.splitlines()[0]
    made.start()
    made.wait_until_ready("Weigh")
    return made


@pytest.fixture(scope="module")
def proxy(tmp_path_factory, instance):
    need(NGINX, "openssl")
    made = Proxy(tmp_path_factory.mktemp("nginx"), instance.port)
    made.start()
    yield made
    made.stop()


def submit(instance, proxy, data, **options):
    return proxy.ask(
        "POST",
        "/request",
        data={"service": "Weigh"},
        files={"payload": ("p.tar.gz", data)},
        headers={"X-API-Key": instance.key},
        **options,
    )


def finished(proxy, ticket):
    for _ in range(20):
        status = proxy.ask("GET", ticket["links"]["status"] + "?wait=25").json()
        if status["state"] in {"succeeded", "failed", "cancelled"}:
            return status
    raise AssertionError(status)


def test_the_shipped_configuration_is_one(proxy):
    checked = proxy.check()
    assert checked.returncode == 0, checked.stderr
    assert "warn" not in checked.stderr


def test_a_request_goes_its_whole_way_and_no_log_of_nginx_has_its_token(instance, proxy):
    answer = submit(instance, proxy, payload(UPLOAD_BYTES, seconds=0))
    assert answer.status_code == 202, answer.text
    assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
    assert answer.headers["Location"].startswith("/status/")
    ticket = answer.json()
    assert finished(proxy, ticket)["state"] == "succeeded"
    whole = proxy.ask("GET", ticket["links"]["result"])
    assert int(whole.headers["Content-Length"]) == len(whole.content) > 2**20
    etag = whole.headers["ETag"]
    part = proxy.ask("GET", ticket["links"]["result"], headers={"Range": "bytes=1000-", "If-Range": etag})
    assert part.status_code == 206
    assert whole.content[:1000] + part.content == whole.content
    bearer = proxy.ask("GET", f"/status/{ticket['id']}", headers={"Authorization": f"Bearer {ticket['token']}"})
    assert bearer.json()["state"] == "succeeded"

    slow = submit(instance, proxy, payload(0, seconds=60)).json()
    began = time.monotonic()
    assert proxy.ask("GET", slow["links"]["status"] + "?wait=2").json()["state"] in {"submitted", "queued", "running"}
    assert time.monotonic() - began > 1.5, "?wait= was waited"
    assert proxy.ask("DELETE", slow["links"]["cancel"]).status_code in {200, 202, 204}
    assert finished(proxy, slow)["state"] == "cancelled"

    tokens = [ticket["token"], slow["token"]]
    path = f"/status/{ticket['id']}&{tokens[0]}"
    assert proxy.ask("GET", f"/status/{ticket['id'] + 5}&{tokens[0]}").status_code == 404
    assert proxy.ask("POST", path, headers={"Content-Length": "9999999999"}).status_code in {400, 413}
    host = b" HTTP/1.1\r\nHost: localhost\r\n"
    for request in (  # refused by nginx itself, each with a message for the error log
        b"GET " + path.encode() + b" HTTP/9.9\r\n\r\n",
        b"GET " + path.encode() + host + b"A: " + b"x" * 40000 + b"\r\n\r\n",
        b"GET " + path.encode() + b"x" * 9000 + host + b"\r\n",
        b"GET " + path.encode() + b" HTTP/1.1\r\nHost: a b\r\n\r\n",
        b"POST " + path.encode() + host + b"Content-Length: 99\r\nTransfer-Encoding: chunked\r\n\r\n",
    ):
        assert b" 4" in proxy.raw(request)[:12] or b" 505" in proxy.raw(request)[:12]
    plain = requests.get(f"http://127.0.0.1:{proxy.plain_port}{path}", timeout=20, allow_redirects=False)
    assert (plain.status_code, plain.headers["Location"]) == (301, "https://localhost/")

    instance.kill("WebService.py")
    away = proxy.ask("GET", path)
    instance.start("WebService.py")
    assert away.status_code == 503
    assert away.headers["Content-Type"] == "application/problem+json"
    assert (away.json()["status"], away.headers["Retry-After"]) == (503, "5")
    instance.until(lambda: proxy.ask("GET", path).status_code == 200)

    logs = proxy.logs()
    assert len(logs["tomaat.log"].splitlines()) > 12
    assert re.search(r" GET 503 502", logs["tomaat.log"]), "an outage can be seen"
    for name, text in logs.items():
        assert not [token for token in tokens if token in text], name
        assert "/status/" not in text, name
        assert "/request" not in text, name
    assert instance.key not in "".join(logs.values())


def test_to_the_service_every_request_comes_from_the_proxy_so_that_all_need_a_key(instance, proxy):
    refused = proxy.ask(
        "POST",
        "/request",
        data={"service": "Weigh"},
        files={"payload": ("p.tar.gz", payload(0))},
        headers={"X-Forwarded-For": "127.0.0.1"},
    )
    assert refused.status_code == 401
    assert refused.json()["type"] == "/problems/key-needed"


def test_how_busy_the_service_is_is_not_told_beyond_the_machine(instance, proxy):
    assert proxy.ask("GET", "/metrics", headers={"X-API-Key": instance.key}).headers["Server"].startswith("nginx")
    assert proxy.ask("GET", "/metrics").status_code == 404
    assert proxy.ask("GET", "/health/ready").status_code == 200


def test_an_upload_is_not_spooled_by_nginx(instance, proxy):
    head = (
        "POST /request HTTP/1.1\r\nHost: localhost\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"X-API-Key: {instance.key}\r\nContent-Length: 20000000\r\n\r\n--b\r\n"
    ).encode()
    context = ssl.create_default_context(cafile=proxy.certificate)
    with (
        socket.create_connection(("127.0.0.1", proxy.port), timeout=20) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(head + b"x" * 10_000_000)
        time.sleep(0.5)
        assert [name for name in proxy.open_files() if "/body/" in name] == []


def test_who_asks_without_a_pause_is_told_to_ask_less_often(proxy):
    with ThreadPoolExecutor(8) as pool, requests.Session() as session:
        ask = functools.partial(session.get, f"{proxy.url}/problems/no", verify=proxy.certificate, timeout=30)
        answers = list(pool.map(lambda _: ask(), range(1200)))
    refused = [answer for answer in answers if answer.status_code == 429]
    assert refused
    assert refused[0].headers["Retry-After"] == "1"
    assert refused[0].headers["Content-Type"] == "application/problem+json"
