"""Remove each guard in turn and run the tests that should notice: ``make mutants``.

A mutant is one change of the source. It lives when all of its tests still pass: then the guard is not tested. Works in
copies of the repository; prints a table, and writes it into the documents once all were tried.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from tests.mutants.mutants import REPORT, REPOSITORY, Mutant, read_all

AT_ONCE = 2  #: mutants tried side by side, each in a copy of its own
HEAD = """# Mutants

Each guard removed in turn, and the first test that failed: {noticed} of {all} were noticed.
`make mutants` tries them all and writes this page. The guards stand in `tests/mutants`, one file for each room.

"""


def main() -> int:
    """Try each mutant whose guard holds the words of the command line; return 1 if one lives."""
    words = " ".join(sys.argv[1:])
    mutants = read_all()
    chosen = [mutant for mutant in mutants if words in mutant.guard]
    lines = ["| guard removed | in | noticed by |", "| --- | --- | --- |"]
    print(*lines, sep="\n")
    living = 0
    with tempfile.TemporaryDirectory(prefix="tomaat-mutants-") as name, ThreadPoolExecutor(AT_ONCE) as pool:
        copies: SimpleQueue[Path] = SimpleQueue()
        for number in range(AT_ONCE):
            copies.put(copy_repository(Path(name, str(number))))
        for mutant, noticed in zip(chosen, pool.map(partial(try_out, copies), chosen), strict=True):
            living += noticed.startswith("**")
            lines.append(f"| {mutant.guard} | `{mutant.file}` | {noticed} |")
            print(lines[-1], flush=True)
    print(f"\n{len(chosen) - living} of {len(chosen)} were noticed.")
    if chosen == mutants:
        REPORT.write_text(HEAD.format(noticed=len(chosen) - living, all=len(chosen)) + "\n".join(lines) + "\n")
    return 1 if living else 0


def copy_repository(copy: Path) -> Path:
    """Copy what git knows of this repository."""
    listed = subprocess.run(["git", "ls-files"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    for file in listed.stdout.splitlines():
        (copy / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(REPOSITORY / file, copy / file)
    return copy


def try_out(copies: SimpleQueue[Path], mutant: Mutant) -> str:
    """Apply a mutant in a copy that nobody uses, run its tests, take it back; tell which one noticed."""
    copy = copies.get()
    try:
        return try_in(copy, mutant) or "**nobody**"
    except (RuntimeError, subprocess.TimeoutExpired) as error:  # the others are tried all the same
        print(f"{mutant.guard}: {error}", file=sys.stderr)
        return "**its tests did not run**"
    finally:
        copies.put(copy)


def try_in(copy: Path, mutant: Mutant) -> str | None:
    """Apply a mutant in a copy, run its tests, take it back; return the test that noticed."""
    path = copy / mutant.file
    source = path.read_text(encoding="utf-8")
    if source.count(mutant.old) != 1:
        raise RuntimeError(f"{mutant.file} has its text {source.count(mutant.old)} times, not once")
    path.write_text(source.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", *mutant.tests],
            cwd=copy,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
    finally:
        path.write_text(source, encoding="utf-8")
    if run.returncode == 0:
        return None
    failed = [line for line in run.stdout.splitlines() if line.startswith(("FAILED", "ERROR"))]
    if run.returncode != 1 or not failed:
        raise RuntimeError(f"the tests did not run:\n{run.stdout[-2000:]}{run.stderr[-1000:]}")
    return "`" + failed[0].split("::")[-1].split(" - ")[0].split("[")[0] + "`"


if __name__ == "__main__":
    sys.exit(main())
