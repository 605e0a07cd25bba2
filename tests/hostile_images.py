"""Volumes that no server should take, made by code: name → (file name, bytes, a word of the refusal's code)."""

import gzip
import struct
import zlib

SHAPE = (4, 5, 6)
VOXELS = bytes(range(120)) * 2  # 120 voxels of int16


def nifti(**changes: object) -> bytes:
    values: dict[str, object] = {
        "sizeof_hdr": 348,
        "dim": (3, 4, 5, 6, 1, 1, 1, 1),
        "intent_code": 0,
        "datatype": 4,
        "bitpix": 16,
        "pixdim": (1.0, 1.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0),
        "vox_offset": 352.0,
        "scl_slope": 0.0,
        "scl_inter": 0.0,
        "qoffset": 0.0,
        "srow": (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0),
        "magic": b"n+1\0",
        "codes": (0, 1),
        "quaternion": 0.0,
        "voxels": VOXELS,
    } | changes
    header = bytearray(352)
    struct.pack_into("<i", header, 0, values["sizeof_hdr"])
    struct.pack_into("<8h", header, 40, *values["dim"])
    struct.pack_into("<3h", header, 68, values["intent_code"], values["datatype"], values["bitpix"])
    struct.pack_into("<8f", header, 76, *values["pixdim"])
    struct.pack_into("<3f", header, 108, values["vox_offset"], values["scl_slope"], values["scl_inter"])
    struct.pack_into("<2h", header, 252, *values["codes"])
    struct.pack_into("<f", header, 256, values["quaternion"])
    struct.pack_into("<f", header, 268, values["qoffset"])
    struct.pack_into("<12f", header, 280, *values["srow"])
    header[344:348] = values["magic"]
    return bytes(header) + values["voxels"]


def nifti_2(**changes: object) -> bytes:
    values: dict[str, object] = {
        "magic": b"n+2\0\r\n\x1a\n",
        "dim": (3, 4, 5, 6, 1, 1, 1, 1),
        "pixdim": (1.0, 1.0, 1.0, 2.0, 0.0, 0.0, 0.0, 0.0),
        "vox_offset": 544,
        "codes": (0, 1),
        "quaternion": (0.0,) * 6,
        "srow": (1.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0),
    } | changes
    header = bytearray(544)
    struct.pack_into("<i8s2h8q", header, 0, 540, values["magic"], 4, 16, *values["dim"])
    struct.pack_into("<8dq", header, 104, *values["pixdim"], values["vox_offset"])
    struct.pack_into("<2i6d12d", header, 344, *values["codes"], *values["quaternion"], *values["srow"])
    return bytes(header) + VOXELS


def mha(voxels: bytes = VOXELS, **changes: str) -> bytes:
    fields = (
        {
            "ObjectType": "Image",
            "NDims": "3",
            "BinaryData": "True",
            "BinaryDataByteOrderMSB": "False",
            "CompressedData": "False",
            "TransformMatrix": "1 0 0 0 1 0 0 0 1",
            "Offset": "0 0 0",
            "ElementSpacing": "1 1 2",
            "DimSize": "4 5 6",
            "ElementType": "MET_SHORT",
        }
        | {"ElementDataFile": "LOCAL"}
        | changes
    )
    fields["ElementDataFile"] = fields.pop("ElementDataFile")  # it ends the header
    return "".join(f"{name} = {value}\n" for name, value in fields.items() if value != "-").encode() + voxels


def nrrd(voxels: bytes = VOXELS, *, extra: str = "", **changes: str) -> bytes:
    fields = {
        "type": "short",
        "dimension": "3",
        "space": "left-posterior-superior",
        "sizes": "4 5 6",
        "space directions": "(1,0,0) (0,1,0) (0,0,2)",
        "endian": "little",
        "encoding": "raw",
        "space origin": "(0,0,0)",
    } | {name.replace("_", " "): value for name, value in changes.items()}
    lines = "".join(f"{name}: {value}\n" for name, value in fields.items() if value != "-")
    return f"NRRD0004\n{lines}{extra}\n".encode() + voxels


NAN, INF = float("nan"), float("inf")
GZ = gzip.compress(nifti(), mtime=0)
ZL = zlib.compress(VOXELS)
AXES = "(1,0,0) (0,1,0) (0,0,2)"
SECRET = "/etc/passwd"

HOSTILE: dict[str, tuple[str, bytes, str]] = {
    "nifti-empty": ("x.nii", b"", "header"),
    "nifti-text": ("x.nii", b"hello" * 200, "header"),
    "nifti-short": ("x.nii", nifti()[:300], "header"),
    "nifti-2": ("x.nii", nifti(sizeof_hdr=540), "header"),
    "nifti-2-cut": ("x.nii", nifti_2()[:400], "header"),
    "nifti-2-detached": ("x.nii", nifti_2(magic=b"ni2\0\r\n\x1a\n"), "header"),
    "nifti-2-damaged-line-ends": ("x.nii", nifti_2(magic=b"n+2\0\n\x1a\n\0"), "header"),
    "nifti-2-endless": ("x.nii", nifti_2(dim=(3, 2**62, 2**62, 2**62, 1, 1, 1, 1)), "too-large"),
    "nifti-2-offset": ("x.nii", nifti_2(vox_offset=2**62), "header"),
    "nifti-2-far-away": ("x.nii", nifti_2(srow=(1, 0, 0, 1e300, 0, 1, 0, 0, 0, 0, 2, 0)), "place"),
    "nifti-2-huge": ("x.nii", nifti_2(srow=(1e308, 1e308, 0, 0, 1e308, 1e308, 0, 0, 0, 0, 2, 0)), "spacing"),
    "nifti-2-quaternion": ("x.nii", nifti_2(codes=(1, 0), quaternion=(1e200, 0, 0, 0, 0, 0)), "direction"),
    "nifti-detached": ("x.nii", nifti(magic=b"ni1\0"), "header"),
    "nifti-no-magic": ("x.nii", nifti(magic=b"\0\0\0\0"), "header"),
    "nifti-no-dimensions": ("x.nii", nifti(dim=(0, 1, 1, 1, 1, 1, 1, 1)), "dimensions"),
    "nifti-eight-dimensions": ("x.nii", nifti(dim=(8, 1, 1, 1, 1, 1, 1, 1)), "dimensions"),
    "nifti-negative": ("x.nii", nifti(dim=(3, -4, 5, 6, 1, 1, 1, 1)), "dimensions"),
    "nifti-zero": ("x.nii", nifti(dim=(3, 0, 5, 6, 1, 1, 1, 1)), "dimensions"),
    "nifti-4d": ("x.nii", nifti(dim=(4, 4, 5, 6, 2, 1, 1, 1), voxels=VOXELS * 2), "not-3d"),
    "nifti-1d": ("x.nii", nifti(dim=(1, 120, 1, 1, 1, 1, 1, 1)), "not-3d"),
    "nifti-rgb": ("x.nii", nifti(datatype=128, bitpix=24), "voxel-type"),
    "nifti-complex": ("x.nii", nifti(datatype=32, bitpix=64), "voxel-type"),
    "nifti-unknown-type": ("x.nii", nifti(datatype=77), "voxel-type"),
    "nifti-offset-in-header": ("x.nii", nifti(vox_offset=0.0) + b"x", "header"),
    "nifti-offset-far": ("x.nii", nifti(vox_offset=1e9), "header"),
    "nifti-offset-nan": ("x.nii", nifti(vox_offset=NAN), "header"),
    "nifti-offset-half": ("x.nii", nifti(vox_offset=352.5), "header"),
    "nifti-spacing-nan": ("x.nii", nifti(pixdim=(1, NAN, 1, 1, 0, 0, 0, 0), codes=(1, 0)), "spacing"),
    "nifti-spacing-inf": ("x.nii", nifti(pixdim=(1, INF, 1, 1, 0, 0, 0, 0), codes=(1, 0)), "spacing"),
    "nifti-spacing-huge": ("x.nii", nifti(pixdim=(1, 1e30, 1, 1, 0, 0, 0, 0), codes=(1, 0)), "spacing"),
    "nifti-sform-nan": ("x.nii", nifti(srow=(NAN,) * 12), "header"),
    "nifti-qoffset-inf": ("x.nii", nifti(qoffset=INF, codes=(1, 0)), "header"),
    "nifti-slope-0-but-an-intercept": ("x.nii", nifti(scl_inter=2.0), "header"),
    "nifti-slope-nan-but-an-intercept": ("x.nii", nifti(scl_slope=NAN, scl_inter=2.0), "header"),
    "nifti-slope-tiny": ("x.nii", nifti(scl_slope=2.0**-60), "header"),
    "nifti-matrices": ("x.nii", nifti(intent_code=1005), "voxel-type"),
    "nifti-vectors": ("x.nii", nifti(intent_code=1007), "voxel-type"),
    "nifti-quaternion": ("x.nii", nifti(codes=(1, 0), quaternion=2.0), "direction"),
    "nifti-far-away": ("x.nii", nifti(srow=(1, 0, 0, 2e6, 0, 1, 0, 0, 0, 0, 2, 0)), "place"),
    "nifti-slope-inf": ("x.nii", nifti(scl_slope=INF), "header"),
    "nifti-8-gb": ("x.nii", nifti(dim=(3, 2000, 2000, 2000, 1, 1, 1, 1)), "too-large"),
    "nifti-cut": ("x.nii", nifti()[:-1], "size"),
    "nifti-gz-is-not": ("x.nii.gz", b"hello" * 200, "header"),
    "nifti-gz-two-bytes": ("x.nii.gz", GZ[:2], "header"),
    "nifti-gz-8-gb": ("x.nii.gz", gzip.compress(nifti(dim=(3, 2000, 2000, 2000, 1, 1, 1, 1))), "too-large"),
    "nifti-gz-cut": ("x.nii.gz", GZ[:-20], "truncated"),
    "nifti-gz-crc": ("x.nii.gz", GZ[:-8] + b"\0\0\0\0" + GZ[-4:], "broken"),
    "nifti-gz-then-cut": ("x.nii.gz", GZ + GZ[:-20], "truncated"),
    "nifti-gz-twice": ("x.nii.gz", gzip.compress(GZ), "header"),
    "nifti-gz-empty-members": ("x.nii.gz", gzip.compress(b"") * 5000, "header"),
    "nifti-gz-short-voxels": ("x.nii.gz", gzip.compress(nifti()[:-10]), "size"),
    "nifti-gz-bomb": ("x.nii.gz", GZ + gzip.compress(bytes(1024**2)) * 65, "size"),
    "nifti-sheared": ("x.nii", nifti(srow=(1, 0.5, 0, 0, 0, 1, 0.5, 0, 0, 0, 2, 0)), "direction"),
    "mha-as-mhd": ("x.mhd", mha(), "extension"),
    "mha-secret": ("x.mha", mha(ElementDataFile=SECRET), "detached"),
    "mha-list": ("x.mha", mha(ElementDataFile="LIST"), "detached"),
    "mha-pattern": ("x.mha", mha(ElementDataFile="%03d.raw 1 3 1"), "detached"),
    "mha-local-lower": ("x.mha", mha(ElementDataFile="local"), "detached"),
    "mha-secret-in-lower-case-too": ("x.mha", b"elementdatafile = LOCAL\n" + mha(ElementDataFile=SECRET), "header"),
    "mha-secret-with-colon": ("x.mha", f"ElementDataFile: {SECRET} = x\n".encode() + mha(), "header"),
    "mha-twice": ("x.mha", b"NDims = 3\n" + mha(), "header"),
    "mha-no-end": ("x.mha", mha(ElementDataFile="-"), "header"),
    "mha-ascii-voxels": ("x.mha", mha(BinaryData="False"), "header"),
    "mha-header-size": ("x.mha", mha(HeaderSize="7"), "header"),
    "mha-header-size-cut": ("x.mha", mha(VOXELS[:-1], HeaderSize="-1"), "size"),
    "mha-header-size-compressed": ("x.mha", mha(ZL, HeaderSize="-1", CompressedData="True"), "header"),
    "mha-channels": ("x.mha", mha(ElementNumberOfChannels="3"), "header"),
    "mha-type": ("x.mha", mha(ElementType="MET_STRING"), "voxel-type"),
    "mha-8-gb": ("x.mha", mha(DimSize="2000 2000 2000"), "too-large"),
    "mha-many-dimensions": ("x.mha", mha(NDims="200"), "dimensions"),
    "mha-4000-dimensions": ("x.mha", mha(NDims="4000", DimSize="4 5 6" + " 1" * 3997), "not-3d"),
    "mha-far-away": ("x.mha", mha(Offset="1e308 0 0"), "place"),
    "mha-number-of-50000-digits": ("x.mha", mha(Offset="1" * 50_000 + "x 0 0"), "header"),
    "mha-name-of-blanks": ("x.mha", b" " * 1_000_000 + b"\n" + mha(ElementDataFile="-"), "header"),
    "mha-endless": ("x.mha", b"a = 1\n" * 200_000 + mha(), "header"),
    "mha-spacing-zero": ("x.mha", mha(ElementSpacing="0 1 1"), "spacing"),
    "mha-spacing-nan": ("x.mha", mha(ElementSpacing="nan 1 1"), "header"),
    "mha-sheared": ("x.mha", mha(TransformMatrix="1 1 0 0 1 0 0 0 1"), "direction"),
    "mha-matrix-short": ("x.mha", mha(TransformMatrix="1 0 0 1"), "direction"),
    "mha-cut": ("x.mha", mha(VOXELS[:-1]), "size"),
    "mha-zlib-broken": ("x.mha", mha(ZL[:20] + b"\xff" * 20 + ZL[40:], CompressedData="True"), "broken"),
    "mha-zlib-cut": ("x.mha", mha(ZL[:-6], CompressedData="True"), "truncated"),
    "mha-zlib-none": ("x.mha", mha(b"", CompressedData="True"), "truncated"),
    "mha-zlib-short": ("x.mha", mha(zlib.compress(VOXELS[:100]), CompressedData="True"), "size"),
    "mha-zlib-long": ("x.mha", mha(zlib.compress(VOXELS * 9), CompressedData="True"), "size"),
    "mha-zlib-checksum": ("x.mha", mha(ZL[:-1] + bytes([ZL[-1] ^ 1]), CompressedData="True"), "broken"),
    "nrrd-as-nhdr": ("x.nhdr", nrrd(), "extension"),
    "nrrd-magic": ("x.nrrd", b"NRRD9999" + nrrd()[8:], "header"),
    "nrrd-secret": ("x.nrrd", nrrd(data_file=SECRET), "detached"),
    "nrrd-secret-joined": ("x.nrrd", nrrd(datafile=SECRET), "detached"),
    "nrrd-secret-capitals": ("x.nrrd", nrrd(extra=f"DATA FILE: {SECRET}\n"), "detached"),
    "nrrd-secret-list": ("x.nrrd", nrrd(extra="data file: LIST := x\n"), "detached"),
    "nrrd-byte-skip": ("x.nrrd", nrrd(byte_skip="7"), "header"),
    "nrrd-byte-skip-gzip": ("x.nrrd", nrrd(gzip.compress(VOXELS), encoding="gzip", byte_skip="-1"), "header"),
    "nrrd-line-skip": ("x.nrrd", nrrd(line_skip="3"), "header"),
    "nrrd-bzip2": ("x.nrrd", nrrd(encoding="bzip2"), "encoding"),
    "nrrd-text": ("x.nrrd", nrrd(encoding="ascii"), "encoding"),
    "nrrd-block": ("x.nrrd", nrrd(type="block"), "voxel-type"),
    "nrrd-no-endian": ("x.nrrd", nrrd(endian="-"), "header"),
    "nrrd-4d": ("x.nrrd", nrrd(VOXELS * 2, dimension="4", sizes="4 5 6 2", space_directions="-"), "not-3d"),
    "nrrd-colours": ("x.nrrd", nrrd(kinds="RGB-color domain domain"), "not-3d"),
    "nrrd-colours-shouted": ("x.nrrd", nrrd(extra="KINDS: domain domain vector\n"), "not-3d"),
    "nrrd-kinds-lie": ("x.nrrd", nrrd(kinds="domain domain"), "header"),
    "nrrd-16-dimensions": ("x.nrrd", nrrd(dimension="16", sizes="4 5 6" + " 1" * 13, space_directions="-"), "not-3d"),
    "nrrd-far-away": ("x.nrrd", nrrd(space_origin="(0,0,-2e6)"), "place"),
    "nrrd-number-of-50000-digits": ("x.nrrd", nrrd(space_directions="-", spacings="1" * 50_000 + "x 1 1"), "header"),
    "nrrd-dimension-lies": ("x.nrrd", nrrd(dimension="2"), "dimensions"),
    "nrrd-huge-number": ("x.nrrd", nrrd(sizes="4 5 " + "9" * 5000), "header"),
    "nrrd-8-gb": ("x.nrrd", nrrd(sizes="2000 2000 2000"), "too-large"),
    "nrrd-twice": ("x.nrrd", nrrd(extra="sizes: 1 1 1\n"), "header"),
    "nrrd-endless": ("x.nrrd", b"NRRD0004\n" + b"# x\n" * 300_000, "header"),
    "nrrd-list": (
        "x.nrrd",
        nrrd(VOXELS * 2, dimension="4", sizes="2 4 5 6", space_directions=f"none {AXES}"),
        "not-3d",
    ),
    "nrrd-200000-fields": (
        "x.nrrd",
        b"NRRD0004\n" + b"".join(b"%x:\n" % n for n in range(150_000)) + b"sizes",
        "header",
    ),
    "nrrd-a-million-numbers": ("x.nrrd", nrrd(space_directions="1 " * 500_000), "header"),
    "mha-a-million-numbers": ("x.mha", mha(Offset="1 " * 500_000), "header"),
    "nrrd-unclosed": ("x.nrrd", nrrd(space_directions="(" * 900_000), "header"),
    "nrrd-cut": ("x.nrrd", nrrd(VOXELS[:-1]), "size"),
    "nrrd-gzip-broken": ("x.nrrd", nrrd(gzip.compress(VOXELS)[:20] + bytes(30), encoding="gzip"), "broken"),
    "nrrd-gzip-short": ("x.nrrd", nrrd(gzip.compress(VOXELS[:9]), encoding="gzip"), "size"),
    "nrrd-direction-nan": ("x.nrrd", nrrd(space_directions="(nan,0,0) (0,1,0) (0,0,1)"), "header"),
    "no-extension": ("x", nifti(), "extension"),
    "dicom": ("x.dcm", bytes(128) + b"DICM", "extension"),
}
