#!/bin/sh
# Make the virtual environment $2 with the interpreter $1, unless one that works is there.
set -eu
python=$1 venv=$2

if "$venv/bin/python" -m pip --version >/dev/null 2>&1; then
    exit 0
fi
if ! command -v "$python" >/dev/null; then
    echo "$python is not there. Install Python 3.10 to 3.13, or name one: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi
if ! "$python" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))'; then
    echo "$python is $("$python" -V 2>&1); 3.10 to 3.13 will do. Name one: make PYTHON=/path/to/python3.11" >&2
    exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
    echo "$python cannot make virtual environments. Install the Debian package python3-venv." >&2
    exit 1
fi
echo "Making $venv with $("$python" -V). This happens once; the requirements take some minutes."
"$python" -m venv --clear "$venv"
