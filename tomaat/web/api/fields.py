"""Take the inputs of a request, each sent as a field of the form, and lay them out like an unpacked payload.

::

    cut=0.5                          a value        main.json: {"inputs": {"cut": 0.5}}
    head=@head.nii.gz                a file         file-head.nii.gz
    scan=@1.dcm scan=@2.dcm …        DICOM images   file-scan/000001, file-scan/000002, …
    scan.series=1.2.840.…            chooses one of several DICOM series
    scan.form=qform                  chooses one of a NIfTI's two places
    scan.volume=2                    chooses one of several volumes in it
    outputs.format=seg.nrrd          of the result's volumes
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from Inputs import VolumeInput
from Inputs.Input import ID, LONGEST_ID
from tomaat.archives import ArchiveLimits, ArchiveTooLarge
from tomaat.archives.beside_images import is_clutter, is_image
from tomaat.refusals import shown
from tomaat.services.payload import LARGEST_MAIN_BYTES, MAIN, read_value
from tomaat.web.api.form import Event, Part

OUTPUT_FORMAT = "outputs.format"
CHOICES = {"series", "volume", "form"}  #: behind the id of a volume and a dot
LONGEST_NAME = LONGEST_ID + 1 + max(map(len, CHOICES))  #: of a field that may mean something
IMAGE_NAMES = re.compile(r"[^.]*|.*\.(dcm|dicom|ima|[0-9]+)", re.IGNORECASE)  #: as scanners name their images
PLAIN_EXTENSION = re.compile(r"\.[A-Za-z0-9]{1,10}")
TEXT_TYPES = {"str", "singlechoice"}  #: whose values are the field's text itself
AS_A_FILE = "must be sent as a file (with curl by an @ before its name)"


class Fields:
    """Receives one form's fields into a folder."""

    def __init__(self, folder: Path, limits: ArchiveLimits) -> None:
        self.folder = folder
        self.limits = limits
        self.texts: dict[str, bytearray] = {}  #: of each field that is no file
        self.faults: list[dict[str, Any]] = []
        self.files = 0
        self.bytes = 0
        self.text_bytes = 0
        self.digest = hashlib.sha256()  #: of all that was sent, in its order
        self.content = hashlib.sha256()  #: of the field that comes now
        self.text: bytearray | None = None  #: of the field that comes now, where it is no file
        self.file: int | None = None  #: the descriptor of its file, where it is one
        self.images: list[_Image] = []  #: or what was sent as such

    def receive(self, events: Iterable[Event]) -> None:
        """Write the files, and keep the texts. Raises ``ArchiveTooLarge``, and ``Problem`` as the form does."""
        try:
            for event in events:
                if isinstance(event, bytes):
                    self._add(event)
                elif event is None:
                    self._end()
                else:
                    self._begin(event)
        finally:
            self._end()

    def add_text(self, name: str, content: bytes) -> None:
        """Take the value of an input that the form has kept. Raises ``ArchiveTooLarge``."""
        self._note(name.encode(), b"")
        self.text = self.texts[name] = bytearray()
        self._add(content)
        self._end()

    def write_main(self, interface: Mapping[str, Mapping[str, Any]]) -> None:
        """Write ``main.json`` of the texts; each becomes the value that its input declares. Tell what is no image."""
        inputs: dict[str, Any] = {}
        chosen: dict[str, dict[str, Any]] = {}
        outputs: dict[str, str] = {}
        for name, content in self.texts.items():
            declared = interface.get(name, {})
            if declared.get("store") == "file":
                self._fault("not-a-file", f"{name}: {AS_A_FILE}.", name)
                continue
            try:
                text = content.decode("utf-8")
            except UnicodeDecodeError as error:
                self._fault("not-utf-8", f"{shown(name)}: the value is not UTF-8 (byte {error.start + 1}).", name)
                continue
            id, dot, choice = name.rpartition(".")
            if name == OUTPUT_FORMAT:
                outputs["format"] = text
            elif dot and choice in CHOICES:
                chosen.setdefault(id, {})[choice] = read_value(text) if choice == "volume" else text
            else:
                inputs[name] = text if declared.get("type") in TEXT_TYPES else read_value(text)
        for image in self.images:
            if interface.get(image.input, {}).get("store") == "file" and not is_image(image.path):
                self._leave_out(image)
        main = json.dumps({"inputs": {**inputs, **chosen}, "outputs": outputs})
        self.folder.joinpath(MAIN).write_text(main, encoding="utf-8")

    def _begin(self, part: Part) -> None:
        name: str = part.name
        self._note(name.encode(), b"" if part.filename is None else b"@" + part.filename.encode())
        if part.filename is None:
            if len(name) > LONGEST_NAME:
                self._fault("unknown-input", f"{shown(name)} is no input of this service.", name)
            elif (part.content_type or "").startswith("multipart/"):  # as of curl -F scan=@1.dcm,2.dcm
                rule = "several files came in one field; send each in a field of its own (with curl -F for each)."
                self._fault("nested-files", f"{shown(name)}: {rule}", name)
            elif name in self.texts:
                self._fault("doubled-field", f"{shown(name)}: the form has this field twice.", name)
            else:
                self.text = self.texts[name] = bytearray()
        elif not ID.fullmatch(name) or len(name) > LONGEST_ID:
            self._fault("unknown-input", f"{shown(name)} is no input of this service.", name)
        elif part.filename and not is_clutter(file_name_of(part.filename)):  # none where a browser's user chose none
            self._open(name, part.filename)

    def _open(self, name: str, sent_as: str) -> None:
        self.files += 1
        if self.files > self.limits.most_members:
            raise ArchiveTooLarge("too-many-members", f"The form has more than {self.limits.most_members} files.")
        file_name = file_name_of(sent_as)
        path = self.folder / f"file-{name}"
        extension = extension_of(file_name)
        if extension is None:
            path.mkdir(mode=0o700, exist_ok=True)
            path = path / f"{self.files:06d}"
        else:
            path = path.with_name(path.name + extension)
        try:
            self.file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        except FileExistsError:
            self._fault("two-files", f"{name}: two files were sent; send one.", name)
        if extension is None:
            self.images.append(_Image(input=name, path=path, file_name=file_name))

    def _add(self, content: bytes) -> None:
        self.content.update(content)
        if self.file is not None:
            self.bytes += len(content)
            if self.bytes > self.limits.largest_unpacked_bytes:
                rule = f"The files have more than {self.limits.largest_unpacked_bytes} bytes."
                raise ArchiveTooLarge("unpacked-too-large", rule)
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(self.file, rest) :]
        elif self.text is not None:
            self.text += content
            self.text_bytes += len(content)
            if self.text_bytes > LARGEST_MAIN_BYTES:
                rule = f"The form's values have more than {LARGEST_MAIN_BYTES} bytes; a volume {AS_A_FILE}."
                raise ArchiveTooLarge("too-large", rule)

    def _end(self) -> None:
        self._note(self.content.digest())
        self.content = hashlib.sha256()
        if self.file is not None:
            os.close(self.file)
        self.file = self.text = None

    def _leave_out(self, image: _Image) -> None:
        """Note a file that is no image, by the name that its client knows, and keep nothing of it."""
        endings = ", ".join(VolumeInput.extensions)
        rule = f"is no DICOM image; send images only, or a volume in a file whose name ends in one of {endings}."
        if image.path.stat().st_size == 0:
            rule = "is empty; copy the series again from its source."
        self._fault("not-dicom", f"{image.input}: {shown(image.file_name)} {rule}", image.input)
        image.path.unlink()
        with suppress(OSError):  # others lie there
            image.path.parent.rmdir()

    def _note(self, *words: bytes) -> None:
        """Let the digest tell two forms apart whose words, one behind the other, are the same bytes."""
        for word in words:
            self.digest.update(b"%d:" % len(word) + word)

    def _fault(self, code: str, detail: str, name: str) -> None:
        self.faults.append({"input": name[:LONGEST_NAME], "code": code, "detail": detail})


@dataclass(frozen=True, kw_only=True)
class _Image:
    """A file that has to be an image of a series."""

    input: str
    path: Path
    file_name: str  #: as its client knows it


def file_name_of(sent_as: str) -> str:
    """Give the last part of a path, of any system."""
    return PurePosixPath(sent_as.replace("\\", "/")).name


def extension_of(file_name: str) -> str | None:
    """Tell the extension under which a file is kept; ``None``: it is one image of a DICOM series.

    >>> extension_of("Head.NII.GZ"), extension_of("head.jpg"), extension_of("IM-0001.dcm"), extension_of("1.2.840.7")
    ('.nii.gz', '.jpg', None, None)
    """
    for extension in VolumeInput.extensions:
        if file_name.lower().endswith(extension):
            return extension
    if IMAGE_NAMES.fullmatch(file_name):
        return None
    suffix = PurePosixPath(file_name).suffix
    return suffix if PLAIN_EXTENSION.fullmatch(suffix) else ".unknown"
