"""The body of ``POST /request``: a form whose payload is read from a file while it is sent."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping
from typing import BinaryIO, Callable

CHUNK_BYTES = 256 * 1024


class Upload:
    """Yields the form, as often as it is asked to; ``on_bytes`` hears how many bytes of the payload are sent."""

    def __init__(
        self, fields: Mapping[str, str], payload: BinaryIO, size: int, on_bytes: Callable[[int], object]
    ) -> None:
        self.payload = payload
        self.size = size
        self.on_bytes = on_bytes
        boundary = secrets.token_hex(16)
        self.content_type = f"multipart/form-data; boundary={boundary}"
        texts = (
            f'--{boundary}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{text}\r\n'
            for name, text in fields.items()
        )
        self.head = (
            f"{''.join(texts)}"
            f'--{boundary}\r\nContent-Disposition: form-data; name="payload"; filename="payload.tar.gz"\r\n'
            "Content-Type: application/gzip\r\n\r\n"
        ).encode()
        self.tail = f"\r\n--{boundary}--\r\n".encode()

    def __len__(self) -> int:
        return len(self.head) + self.size + len(self.tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self.head
        self.payload.seek(0)
        sent = 0
        while chunk := self.payload.read(CHUNK_BYTES):
            yield chunk
            sent += len(chunk)
            self.on_bytes(sent)
        yield self.tail
