"""Tab completion: the next words of a command line, and the scripts by which a shell asks for them."""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import shlex
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from tomaat.client.client import Client
from tomaat.client.errors import ClientError
from tomaat.client.interface import expanded, extension_of
from tomaat.client.parser import FORMATS, given_path, make_parser

Services = list[dict[str, Any]]

FRESH_SECONDS = 600.0  #: how long a server's services are taken as unchanged
BREAKS = {"=", ":"}  #: at which bash takes a word for two
SCRIPTS = {
    "bash": """\
_tomaat() {
    local IFS=$'\\n' place
    COMPREPLY=($(tomaat __complete "${COMP_LINE:0:COMP_POINT}" "${COMP_WORDS[COMP_CWORD]}" 2>/dev/null))
    [ -e "${COMPREPLY[0]}" ] && compopt -o filenames
    for place in "${!COMPREPLY[@]}"; do
        case "${COMPREPLY[place]}" in *[=/]) compopt -o nospace ;; esac
    done
}
complete -F _tomaat tomaat
""",
    "zsh": """\
_tomaat() {
    local -a found
    found=(${(f)"$(tomaat __complete "$LBUFFER" 2>/dev/null)"})
    compadd -S '' -- ${(M)found:#*[=/]}
    compadd -- ${found:#*[=/]}
}
compdef _tomaat tomaat
""",
    "fish": """\
complete -c tomaat -f -a '(tomaat __complete (commandline -cp) 2>/dev/null)'
""",
}


def cache_of(client: Client) -> Path:
    """Name the file that remembers a server's services."""
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tomaat"
    return folder / f"services-{hashlib.sha256(client.url.encode()).hexdigest()[:16]}.json"


def remember(client: Client) -> Services:
    """Ask for a server's services, and keep them if possible."""
    services = client.services()
    file = cache_of(client)
    with contextlib.suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(f".{os.getpid()}")
        draft.write_text(json.dumps(services), encoding="utf-8")
        draft.replace(file)
    return services


def remembered(client: Client) -> Services:
    """Return a server's services: those of a moment ago, else by asking, else those of any earlier time."""
    file = cache_of(client)
    services: Services = []
    with contextlib.suppress(OSError, ValueError):
        services = json.loads(file.read_bytes())
        if time.time() < file.stat().st_mtime + FRESH_SECONDS:
            return services
    try:
        return remember(client)
    except ClientError:
        return services


def complete(line: str, bash_word: str | None, services: Callable[[str], Services]) -> list[str]:
    """List the words that the end of ``line`` may become; ``services`` returns those of the server at an address.

    ``bash_word`` is that word as bash cuts it; then only texts for its place are listed.
    """
    words = split(line)
    found = candidates(words[1:-1], words[-1], services)
    return [one[cut_of(words[-1], bash_word) :] for one in found if one.startswith(words[-1])]


def split(line: str) -> list[str]:
    """Take a line apart as a shell does; the last word may be empty, or begin with a quote that is still open.

    >>> split("tomaat run "), split("tomaat run X scan='my he")
    (['tomaat', 'run', ''], ['tomaat', 'run', 'X', 'scan=my he'])
    """
    for end in ("", "'", '"'):
        try:
            words = shlex.split(line + end)
        except ValueError:
            continue
        return words if line[-1:].strip() or end else [*words, ""]
    return ["", ""]


def cut_of(word: str, bash_word: str | None) -> int:
    """Tell how much of a word bash has set aside: it begins another one at each ``=``."""
    if bash_word is None or not word:
        return 0
    if bash_word in BREAKS:
        return len(word)
    if word.endswith(bash_word):
        return len(word) - len(bash_word)
    return word.find("=") + 1


def candidates(before: Sequence[str], word: str, services: Callable[[str], Services]) -> list[str]:
    """List the words that may follow ``before``, also those that do not begin like ``word``."""
    parser = make_parser()
    subparsers = next(action for action in parser._actions if action.dest == "command")  # noqa: SLF001 (nowhere else)
    commands: Mapping[str, argparse.ArgumentParser] = dict(subparsers.choices or {})
    command = next((one for one in before if one in commands), None)
    options = option_actions(commands[command] if command else parser)
    last = options.get(before[-1]) if before else None
    if last is not None and last.nargs != 0:
        return list(FORMATS) if last.dest == "format" else paths(word) if last.type is given_path else []
    if word.startswith("-"):
        return sorted(options)
    return list(commands) if command is None else arguments(command, before, word, services)


def arguments(command: str, before: Sequence[str], word: str, services: Callable[[str], Services]) -> list[str]:
    """List the words that a command may take beside its options."""
    if command == "completion":
        return list(SCRIPTS)
    if command not in {"services", "run", "submit"}:
        return paths(word, only_folders=True)
    url = next((after for one, after in zip(before, before[1:]) if one == "--url"), os.environ.get("TOMAAT_URL", ""))
    offered = {service["name"]: service["interface"] for service in services(url)}
    chosen = next((one for one in before if one in offered), None)
    if chosen is None:
        return list(offered)
    return inputs(offered[chosen], before, word) if command != "services" else []


def option_actions(parser: argparse.ArgumentParser) -> dict[str, argparse.Action]:
    """Return a command's options by their names."""
    actions = parser._actions  # noqa: SLF001 (argparse tells it nowhere else)
    return {name: action for action in actions for name in action.option_strings}


def inputs(interface: Mapping[str, Mapping[str, Any]], before: Sequence[str], word: str) -> list[str]:
    """List the inputs that are not given yet, or the values of the one that is being given."""
    id, equals, value = word.partition("=")
    if not equals:
        return [f"{id}=" for id in interface if not any(one.startswith(f"{id}=") for one in before)]
    declared = interface.get(id, {})
    if declared.get("store") == "file":
        extensions = declared.get("extensions") or []
        return [f"{id}={path}" for path in paths(value, extensions=extensions)]
    if declared.get("type") == "boolean":
        return [f"{id}=true", f"{id}=false"]
    return [f"{id}={choice}" for choice in declared.get("choices") or ()]


def paths(word: str, *, only_folders: bool = False, extensions: Sequence[str] = ()) -> list[str]:
    """List files and folders whose path begins with ``word``; a folder with a ``/`` behind it."""
    folder, slash, name = word.rpartition("/")
    try:
        entries = sorted(os.scandir(expanded(folder + slash) or "."), key=lambda entry: entry.name)
    except OSError:
        return []
    found = []
    for entry in entries:
        if entry.name.startswith(".") and not name.startswith("."):
            continue
        path = f"{folder}{slash}{entry.name}"
        if entry.is_dir():
            found.append(f"{path}/")
        elif not only_folders and (not extensions or extension_of(Path(entry.name), extensions)):
            found.append(path)
    return found
