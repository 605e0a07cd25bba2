"""A fake NVML, built from C, for machines without a GPU."""

import os
import shutil
import subprocess
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def fake_nvml(tmp_path_factory):
    """Build the library; returns the environment in which a process finds it and sees the GPUs named."""
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("no C compiler is here; the Debian packages gcc and libc6-dev bring one")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("fake_nvml.c")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run([compiler, "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True)

    def environment(gpus: str) -> dict[str, str]:
        return {**os.environ, "LD_LIBRARY_PATH": str(folder), "FAKE_NVML": gpus}

    return environment
