"""A fake NVML, built from C, for machines without a GPU."""

import os
import subprocess
from pathlib import Path

import pytest

from tests.needs import need


@pytest.fixture(scope="session")
def fake_nvml(tmp_path_factory):
    """Build the library; returns the environment in which a process finds it and sees the GPUs named."""
    need("gcc", "/usr/include/stdio.h")
    folder = tmp_path_factory.mktemp("nvml")
    source = Path(__file__).with_name("fake_nvml.c")
    library = folder / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, source], check=True)

    def environment(gpus: str) -> dict[str, str]:
        return {**os.environ, "LD_LIBRARY_PATH": str(folder), "FAKE_NVML": gpus}

    return environment
