"""What lies beside DICOM images, for server, client and page: files, those left out, those that may be images."""

DICOM = bytes(128) + b"DICM" + bytes(range(256)) * 2
NO_PREAMBLE = b"\x08\x00\x05\x00\x0a\x00\x00\x00ISO_IR 100" + bytes(range(256))
META_ALONE = b"\x02\x00\x00\x00UL\x04\x00" + bytes(range(256))
ROW = {f"s/{number}.dcm": DICOM for number in (1, 2, 3)}
EXE, TEXT, PICTURE = b"MZ" + bytes(200), b"Insert the disc and wait.\r\n", b"\x89PNG\r\n\x1a\n" + bytes(200)
LOST = b"<html><title>404 Not Found</title></html>"
CASES: dict[str, tuple[dict[str, bytes], list[str], list[str]]] = {
    "images alone": ({"a/IM1": DICOM, "a/IM2": DICOM}, [], []),
    "an export with a viewer": (
        {
            "AUTORUN.INF": b"[autorun]\r\n",
            "DICOM/IM0001": DICOM,
            "DICOM/IM0002": DICOM,
            "DICOMDIR": b"",
            "README": TEXT,
            "VIEWER/Contents/MacOS/viewer": b"\xcf\xfa\xed\xfe" + bytes(90),
            "VIEWER/empty.dll": b"",
            "VIEWER/viewer.exe": EXE,
        },
        ["AUTORUN.INF", "README", "VIEWER/Contents/MacOS/viewer", "VIEWER/empty.dll", "VIEWER/viewer.exe"],
        [],
    ),
    "what systems leave": (
        {"a.dcm": DICOM, ".DS_Store": b"\0\0\0\1Bud1", "x/Thumbs.db": b"\xd0\xcf", "__MACOSX/._a.dcm": b"\0\5\x16\7"},
        [],
        [],
    ),
    "an empty image at the end": ({"000.dcm": DICOM, "001.dcm": DICOM, "002.dcm": b""}, [], ["002.dcm"]),
    "an empty image in the middle": ({"IM1": DICOM, "IM2": b"", "IM3": DICOM}, [], ["IM2"]),
    "an empty image in a folder of its own": ({"S1/IM1": DICOM, "S2/IM2": b""}, [], ["S2/IM2"]),
    "an image cut within its preamble": ({"1.dcm": DICOM, "2.dcm": bytes(100)}, [], ["2.dcm"]),
    "an image of zeros": ({"1.2.840.1": DICOM, "1.2.840.2": bytes(5000)}, [], ["1.2.840.2"]),
    "an image without its preamble": ({"a/1": DICOM, "b/2": NO_PREAMBLE}, [], []),
    "an image with its own words but no preamble": ({"a.dcm": META_ALONE, "b.txt": TEXT}, ["b.txt"], []),
    "an empty file far from the images' numbers": (ROW | {"s/9.dcm": b""}, ["s/9.dcm"], []),
    "an empty file whose number follows": (ROW | {"s/4.dcm": b"", "s/5.dcm": b""}, [], ["s/4.dcm", "s/5.dcm"]),
    "an empty file in front": (ROW | {"s/0.dcm": b"", "s/8.dcm": b""}, ["s/8.dcm"], ["s/0.dcm"]),
    "an empty file far from numbers with a gap": (ROW | {"s/7.dcm": DICOM, "s/99.dcm": b""}, [], ["s/99.dcm"]),
    "an empty file without a number": (ROW | {"s/x.dcm": b""}, [], ["s/x.dcm"]),
    "an empty file of another kind of name": (ROW | {"s/a9.dcm": b""}, [], ["s/a9.dcm"]),
    "a cut file far from the images' numbers": (ROW | {"s/9.dcm": bytes(20)}, [], ["s/9.dcm"]),
    "an error page in an image's place": ({"IM1": DICOM, "IM2": LOST}, [], ["IM2"]),
    "an error page that is called as images are": ({"a/1.dcm": DICOM, "a/2.dcm": LOST}, [], ["a/2.dcm"]),
    "a copy that did not end": ({"1.ima": DICOM, "2.ima.part": b""}, [], ["2.ima.part"]),
    "a volume, an archive, a picture": (
        {"a.nii.gz": b"\x1f\x8b", "b.zip": b"PK\3\4", "c.dcm": DICOM, "d.PNG": PICTURE, "e.db": b""},
        ["a.nii.gz", "b.zip", "d.PNG", "e.db"],
        [],
    ),
    "an extension of one's own": ({"1.img1": DICOM, "2.img1": b"", "x.img2": b""}, ["x.img2"], ["2.img1"]),
}
