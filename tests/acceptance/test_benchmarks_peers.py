"""The comparison with peers runs, here for this service alone and with few tickets."""

import subprocess
import sys

import pytest

from tests.service import REPOSITORY


@pytest.mark.slow
def test_the_comparison_prints_its_table_and_says_how_long_it_took():
    command = [sys.executable, "-m", "benchmarks.peers", "latency", "clients", "--alone", "--scale", "0.02"]
    done = subprocess.run(command, check=False, cwd=REPOSITORY, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines() if "|" in line]
    assert lines[0] == ["", "this service", "the best peer's ÷ ours"]
    assert [cells[0] for cells in lines[2:]] == [
        "one small ticket, one client, median, ms",
        "processor time of one ticket, one client, ms",
        "16 clients, tickets/s",
        "processor time of one ticket, 16 clients, ms",
    ]
    assert all(float(cells[1]) > 0 for cells in lines[2:])
    assert "latency: " in done.stderr
