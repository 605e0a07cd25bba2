"""Build the container image by buildah, with packages from where pip takes them on this machine: ``make image``.

Standard library only: a machine that builds images need not run the service.
"""

from __future__ import annotations

import argparse
import ast
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
CONTAINERFILE = REPOSITORY / "deploy" / "Containerfile"
TAG = "tomaat"
LINKS = "find-links"
INDEXES = {"index-url", "extra-index-url"}
LENT = "/run/lent-to-pip"  #: where the build finds files of this machine
CONFIGURED = re.compile(r"^([^.\s]+)\.(\S+)=(.+)$", re.MULTILINE)  #: a line of `pip config list`


def main() -> int:
    """Build the image; return buildah's exit status."""
    parser = argparse.ArgumentParser(prog="make image", description=__doc__)
    parser.add_argument("--tag", default=TAG, help="the image's name (default: %(default)s)")
    parser.add_argument("--base", help="the image of a Debian to build it on (default: the Containerfile's)")
    parser.add_argument("--folders", default="", help='kinds of network folders, such as "nnunet monai onnx"')
    words = parser.parse_args()
    if shutil.which("buildah") is None:
        print("buildah is not here: install the Debian package buildah.", file=sys.stderr)
        return 1
    return build(words.tag, base=words.base, folders=words.folders)


def build(tag: str, *, base: str | None = None, folders: str = "", options: Sequence[str] = ()) -> int:
    """Build an image of that name; return buildah's exit status."""
    configuration = pip_configuration()
    with lent_to_pip(configuration) as (file, volumes):
        command = ["buildah", "build", "--layers", "--file", str(CONTAINERFILE), "--tag", tag, *options]
        if base is not None:
            command += ["--build-arg", f"BASE={base}"]
        command += ["--build-arg", f"FOLDERS={folders}", "--secret", f"id=pip,src={file}"]
        for path, place in volumes.items():
            command += ["--volume", f"{path}:{place}:ro"]
        return subprocess.run([*command, str(REPOSITORY)], check=False).returncode


def pip_configuration() -> dict[str, str]:
    """Read how pip is set up here, its environment variables included; without pip in no way."""
    command = [sys.executable, "-m", "pip", "config", "list"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    found = {name: str(ast.literal_eval(value)) for _, name, value in CONFIGURED.findall(said)}
    if LINKS in found:  # of pip's folders these may be named from the current one on
        words = found[LINKS].split()
        found[LINKS] = " ".join(str(Path(word).absolute()) if Path(word).exists() else word for word in words)
    return found


@contextmanager
def lent_to_pip(configuration: dict[str, str]) -> Iterator[tuple[Path, dict[Path, str]]]:
    """Write a configuration of pip for as long as the build runs: it may hold a password.

    Gives the file, and the folders that the build needs with it, each with its place there. Files that it names, such
    as certificates, are copied into one of these: what lies over a file of the system's own would be in its way.
    """
    with tempfile.TemporaryDirectory() as folder:
        volumes = {}
        lines = ["[global]\n"]
        for name, value in configuration.items():
            words = value.split()
            for number, word in enumerate(words):
                path = Path(word.removeprefix("file://"))
                if path.is_absolute() and path.is_dir():
                    whole = path.parent if name in INDEXES else path  # an index may lie beside the packages
                    volumes[whole] = str(whole)
                elif path.is_absolute() and path.is_file():
                    shutil.copy(path, folder)
                    volumes[Path(folder)] = LENT
                    words[number] = f"{LENT}/{path.name}"
            lines.append(f"{name} = {' '.join(words)}\n")
        file = Path(folder) / "pip.conf"
        file.write_text("".join(lines), encoding="utf-8")
        yield file, volumes


if __name__ == "__main__":
    sys.exit(main())
