#!/usr/bin/env bash
# Install what the tests need beside Python and cannot be had from PyPI, where it is missing, as root or with sudo.
set -euo pipefail

missing=()
need() { # package, and a command that succeeds where what it brings is there
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}
need git command -v git
need make command -v make
need curl command -v curl
need python3-venv python3 -c 'import ensurepip, venv'
need gcc command -v gcc
need libc6-dev test -e /usr/include/stdio.h
need nodejs command -v node
need npm command -v npm
need libarchive-tools command -v bsdtar
need dicom3tools command -v dciodvfy
need zsh command -v zsh
need fish command -v fish
need chromium command -v chromium
need fonts-dejavu-core test -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf # chromium recommends fonts only

if [ ${#missing[@]} = 0 ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "Missing, by their Debian names: ${missing[*]}. There is no apt-get here: install them in this system's way." >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Missing: ${missing[*]}. Run as root: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update
"${as_root[@]}" apt-get install --yes --no-install-recommends "${missing[@]}"
