"""Archives that no payload, and no zip of DICOM images, may be, made by code: name → (bytes, code of the refusal)."""

import gzip
import io
import stat
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Callable

BLOCK = 512


def header(name: bytes = b"a", size: int | bytes = 0, kind: bytes = b"0", **fields: bytes) -> bytes:
    """Build one ustar header with a right checksum, whatever else is wrong with it."""
    block = bytearray(BLOCK)
    block[0 : len(name[:100])] = name[:100]
    block[100:108] = b"0000644\0"
    block[108:116] = block[116:124] = b"0000000\0"
    block[124:136] = size if isinstance(size, bytes) else b"%011o\0" % size
    block[136:148] = b"00000000000\0"
    block[156:157] = kind
    block[257:265] = fields.get("magic", b"ustar\x0000")
    link = fields.get("link", b"")
    block[157 : 157 + len(link)] = link
    prefix = fields.get("prefix", b"")
    block[345 : 345 + len(prefix)] = prefix
    block[148:156] = b" " * 8
    block[148:156] = fields.get("checksum", b"%06o\0 " % sum(block))
    return bytes(block)


def padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % BLOCK)


def member(name: bytes = b"a", data: bytes = b"", kind: bytes = b"0", **fields: bytes) -> bytes:
    return header(name, len(data), kind, **fields) + padded(data)


def pax(*records: tuple[bytes, bytes]) -> bytes:
    data = b""
    for key, value in records:
        body = b" " + key + b"=" + value + b"\n"
        length = len(body) + 1
        while len(str(length)) + len(body) != length:
            length = len(str(length)) + len(body)
        data += str(length).encode() + body
    return member(b"pax", data, b"x")


END = bytes(2 * BLOCK)
GOOD = member(b"main.json", b"{}")


def packed(*parts: bytes, end: bytes = END) -> bytes:
    return gzip.compress(b"".join(parts) + end, mtime=0)


def _bomb(size: int) -> bytes:
    out = io.BytesIO()
    with gzip.open(out, "wb", compresslevel=9) as stream:
        stream.write(header(b"bomb", size))
        for _ in range(size // 1024**2):
            stream.write(bytes(1024**2))
        stream.write(END)
    return out.getvalue()


def _with_trailer(crc_flip: int = 0, size_change: int = 0) -> bytes:
    data = packed(GOOD)
    crc, size = struct.unpack("<II", data[-8:])
    return data[:-8] + struct.pack("<II", crc ^ crc_flip, (size + size_change) & 0xFFFFFFFF)


def _tarfile(kind: bytes, **attributes: object) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as archive:
        info = tarfile.TarInfo("x")
        info.type = kind
        for name, value in attributes.items():
            setattr(info, name, value)
        archive.addfile(info)
    return out.getvalue()


def _global_pax() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz", format=tarfile.PAX_FORMAT, pax_headers={"comment": "x"}):
        pass
    return out.getvalue()


BAD_NAMES = {
    "absolute": b"/etc/passwd",
    "climbing": b"../x",
    "climbing-inside": b"a/../../x",
    "climbing-at-the-end": b"a/..",
    "backslash": b"..\\x",
    "newline": b"a\nb",
    "escape": b"a\x1b[2Jb",
    "delete": b"a\x7fb",
    "bell": b"a\x07b",
    "not-utf8": b"a\xff\xfeb",
    "overlong-utf8": b"a\xc0\xafb",
    "right-to-left": "a\u202eb".encode(),
    "zero-width": "a\u200bb".encode(),
    "line-separator": "a\u2028b".encode(),
    "empty": b"",
    "dot": b".",
    "too-deep": b"/".join([b"d"] * 9),
}
BAD_KINDS = {
    "hard-link": b"1",
    "symlink": b"2",
    "character-device": b"3",
    "block-device": b"4",
    "fifo": b"6",
    "contiguous": b"7",
    "gnu-sparse": b"S",
    "gnu-long-link": b"K",
    "gnu-volume": b"V",
    "gnu-multi": b"M",
    "gnu-dump": b"D",
    "solaris-x": b"X",
    "unknown": b"?",
}
BAD_SIZES = {
    "base-256": b"\x80" + bytes(10) + b"\x01",
    "base-256-negative": b"\xff" * 12,
    "negative": b"-0000000001\0",
    "hexadecimal": b"0x0000000ff\0",
    "nine": b"00000000009\0",
    "spaces-within": b"0000 000001\0",
}
BAD_PAX = {
    "pax-negative-size": ((b"size", b"-1"), "header-number"),
    "pax-huge-size": ((b"size", b"9" * 30), "header-number"),
    "pax-size-not-a-number": ((b"size", b"1e3"), "header-number"),
    "pax-size-lies": ((b"size", b"4096"), "truncated"),
    "pax-path-climbs": ((b"path", b"../x"), "name"),
    "pax-path-absolute": ((b"path", b"/x"), "name"),
    "pax-path-nul": ((b"path", b"a\0b"), "not-a-tar"),
    "pax-linkpath": ((b"linkpath", b"/etc/passwd"), "member-type"),
    "pax-sparse": ((b"GNU.sparse.major", b"1"), "member-type"),
    "pax-sparse-name": ((b"GNU.sparse.name", b"/x"), "member-type"),
    "pax-hdrcharset": ((b"hdrcharset", b"BINARY"), "member-type"),
}

HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty-upload": (lambda: b"", "not-gzip"),
    "plain-text": (lambda: b"hello", "not-gzip"),
    "one-byte": (lambda: b"\x1f", "not-gzip"),
    "zip": (lambda: b"PK\x03\x04" + bytes(30), "not-gzip"),
    "bare-tar": (lambda: GOOD + END, "not-gzip"),
    "gzip-of-nothing": (lambda: gzip.compress(b""), "truncated"),
    "gzip-of-text": (lambda: gzip.compress(b"x" * 1000), "not-a-tar"),
    "gzip-header-only": (lambda: packed(GOOD)[:10], "truncated"),
    "gzip-cut-in-the-middle": (lambda: packed(GOOD)[:40], "truncated"),
    "gzip-without-trailer": (lambda: packed(GOOD)[:-8], "truncated"),
    "gzip-trailer-cut": (lambda: packed(GOOD)[:-1], "truncated"),
    "wrong-crc": (lambda: _with_trailer(crc_flip=1), "broken-gzip"),
    "wrong-length": (lambda: _with_trailer(size_change=1), "broken-gzip"),
    "unknown-method": (lambda: b"\x1f\x8b\x07" + packed(GOOD)[3:], "broken-gzip"),
    "broken-deflate": (lambda: packed(GOOD)[:12] + b"\xff" * 40 + packed(GOOD)[52:], "broken-gzip"),
    "garbage-after": (lambda: packed(GOOD) + b"x", "trailing-data"),
    "zeros-after": (lambda: packed(GOOD) + bytes(100), "trailing-data"),
    "second-member": (lambda: packed(GOOD) + packed(GOOD), "trailing-data"),
    "raw-zlib": (lambda: zlib.compress(GOOD + END), "not-gzip"),
    "no-end": (lambda: packed(GOOD, end=b""), "truncated"),
    "half-an-end": (lambda: packed(GOOD, end=bytes(BLOCK)), "truncated"),
    "one-zero-block-then-more": (lambda: packed(GOOD, bytes(BLOCK), GOOD), "not-a-tar"),
    "data-after-the-end": (lambda: packed(GOOD, END, GOOD), "trailing-data"),
    "member-cut": (lambda: packed(header(b"a", 5000), b"x" * 512, end=b""), "truncated"),
    "size-beyond-the-end": (lambda: packed(header(b"a", 8**10)), "truncated"),
    "wrong-checksum": (lambda: packed(header(checksum=b"000001\0 ")), "not-a-tar"),
    "blank-checksum": (lambda: packed(header(checksum=b" " * 8)), "not-a-tar"),
    "letters-checksum": (lambda: packed(header(checksum=b"abcdef\0 ")), "not-a-tar"),
    "folder-with-content": (lambda: packed(member(b"d/", b"x", b"5")), "not-a-tar"),
    "global-header": (_global_pax, "member-type"),
    "symlink-out": (lambda: _tarfile(tarfile.SYMTYPE, linkname="/etc/passwd"), "member-type"),
    "same-twice": (lambda: packed(GOOD, GOOD), "doubled"),
    "same-but-case": (lambda: packed(GOOD, member(b"MAIN.json")), "doubled"),
    "same-but-sharp-s": (lambda: packed(member("ß".encode()), member(b"SS")), "doubled"),
    "same-but-composed": (lambda: packed(member("é".encode()), member("e\u0301".encode())), "doubled"),
    "same-but-slashes": (lambda: packed(member(b"a/b"), member(b"a//b")), "doubled"),
    "same-but-dot": (lambda: packed(member(b"a"), member(b"./a")), "doubled"),
    "file-under-a-file": (lambda: packed(member(b"a"), member(b"a/b")), "doubled"),
    "file-over-a-folder": (lambda: packed(member(b"a/b"), member(b"a")), "doubled"),
    "folder-in-other-case": (lambda: packed(member(b"a/b"), member(b"A/c")), "doubled"),
    "folder-twice": (lambda: packed(member(b"d/", kind=b"5"), member(b"d/", kind=b"5")), "doubled"),
    "too-many-members": (lambda: packed(*(member(b"f%d" % n) for n in range(6001))), "too-many-members"),
    "long-name-without-member": (lambda: packed(member(b"l", b"name\0", b"L")), "truncated"),
    "two-long-names": (lambda: packed(member(b"l", b"n", b"L"), member(b"l", b"n", b"L"), GOOD), "not-a-tar"),
    "long-name-too-long": (lambda: packed(member(b"l", b"n" * 5000, b"L"), GOOD), "long-header"),
    "long-name-climbs": (lambda: packed(member(b"l", b"../x\0", b"L"), GOOD), "name"),
    "name-over-the-limit": (lambda: packed(member(b"l", b"n/" * 2000, b"L"), GOOD), "name"),
    "part-too-long": (lambda: packed(member(b"l", b"n" * 300, b"L"), GOOD), "name"),
    "prefix-climbs": (lambda: packed(member(b"x", prefix=b"..")), "name"),
    "pax-without-member": (lambda: packed(pax((b"path", b"x"))), "truncated"),
    "two-pax": (lambda: packed(pax((b"path", b"x")), pax((b"path", b"y")), GOOD), "not-a-tar"),
    "pax-too-long": (lambda: packed(member(b"p", b"x" * 70_000, b"x"), GOOD), "long-header"),
    "pax-claims-a-gigabyte": (lambda: packed(header(b"p", 2**30, b"x")), "long-header"),
    "pax-length-zero": (lambda: packed(member(b"p", b"0 path=x\n", b"x"), GOOD), "not-a-tar"),
    "pax-length-lies": (lambda: packed(member(b"p", b"99 path=x\n", b"x"), GOOD), "not-a-tar"),
    "pax-no-equals": (lambda: packed(member(b"p", b"8 abcde\n", b"x"), GOOD), "not-a-tar"),
    "pax-path-twice": (lambda: packed(pax((b"path", b"x"), (b"path", b"y")), GOOD), "not-a-tar"),
    "bomb-by-ratio": (lambda: _bomb(64 * 1024**2), "ratio"),
    **{f"name-{what}": ((lambda n=name: packed(member(n))), "name") for what, name in BAD_NAMES.items()},
    **{
        f"pax-name-{what}": ((lambda n=name: packed(pax((b"path", n)), GOOD)), "name")
        for what, name in BAD_NAMES.items()
    },
    **{
        f"long-name-{what}": ((lambda n=name: packed(member(b"l", n + b"\0", b"L"), GOOD)), "name")
        for what, name in BAD_NAMES.items()
    },
    **{f"type-{what}": ((lambda k=kind: packed(header(kind=k))), "member-type") for what, kind in BAD_KINDS.items()},
    **{f"size-{what}": ((lambda s=size: packed(header(size=s))), "header-number") for what, size in BAD_SIZES.items()},
    **{what: ((lambda r=record: packed(pax(r), GOOD)), code) for what, (record, code) in BAD_PAX.items()},
    **{
        f"cut-after-{at}-bytes": ((lambda a=at: packed(GOOD, member(b"b", b"y" * 3000))[:a]), "truncated")
        for at in range(11, 60, 4)
    },
}


MIB = 1024**2
DICOM_IMAGE = bytes(128) + b"DICM" + b"pixels" * 100


def zip_packed(members, method=zipfile.ZIP_DEFLATED, change=None):
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", method) as archive:
        for name, data in members.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = method
            info.external_attr = 0o600 << 16
            if change:
                change(info)
            archive.writestr(info, data)
    return buffer.getvalue()


def link(info):
    info.create_system = 3
    info.external_attr = (stat.S_IFLNK | 0o777) << 16


def encrypted(data):
    """Set the flag of encryption where both headers have it."""
    changed = bytearray(data)
    changed[6] |= 1
    changed[data.index(b"PK\x01\x02") + 8] |= 1
    return bytes(changed)


GOOD_ZIP = zip_packed({"a": DICOM_IMAGE})
#: For limits of 20 members, 8 MiB in all, and the ratio 100 beyond one MiB.
HOSTILE_ZIPS = {
    "empty": (b"", "broken-zip"),
    "first-header-only": (b"PK\x03\x04" + bytes(100), "broken-zip"),
    "cut": (GOOD_ZIP[:-30], "broken-zip"),
    "broken-deflate": (GOOD_ZIP[:50] + b"x" + GOOD_ZIP[51:], "broken-zip"),
    "wrong-crc": (
        zip_packed({"a": DICOM_IMAGE}, zipfile.ZIP_STORED).replace(b"pixels", b"voxels", 1),
        "broken-zip",
    ),
    "encrypted": (encrypted(GOOD_ZIP), "encrypted"),
    "bzip2": (zip_packed({"a": DICOM_IMAGE}, zipfile.ZIP_BZIP2), "zip-method"),
    "lzma": (zip_packed({"a": DICOM_IMAGE}, zipfile.ZIP_LZMA), "zip-method"),
    "too-many-members": (zip_packed({str(n): b"" for n in range(21)}), "too-many-members"),
    "bomb-by-ratio": (zip_packed({"a": DICOM_IMAGE + bytes(2 * MIB)}), "ratio"),
    "bomb-by-size": (
        zip_packed({str(n): DICOM_IMAGE + bytes(MIB) for n in range(9)}, zipfile.ZIP_STORED),
        "unpacked-too-large",
    ),
}
