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
need jq command -v jq
need zsh command -v zsh
need fish command -v fish
need libseccomp2 python3 -c 'import ctypes; ctypes.CDLL("libseccomp.so.2")'
need openssl command -v openssl
need systemd command -v systemd-analyze
need nginx-light test -x /usr/sbin/nginx
need chromium-headless-shell command -v chromium-headless-shell
need fonts-dejavu-core test -e /usr/share/fonts/truetype/dejavu/DejaVuSans.ttf # Chromium recommends fonts only

promtool_missing=
command -v promtool >/dev/null || promtool_missing=yes
if [ ${#missing[@]} = 0 ] && [ -z "$promtool_missing" ]; then
    exit 0
fi
if ! command -v apt-get >/dev/null; then
    echo "Missing, by their Debian names: ${missing[*]} ${promtool_missing:+prometheus (promtool)}. There is no apt-get here: install them in this system's way." >&2
    exit 1
fi
as_root=()
if [ "$(id -u)" != 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "Missing: ${missing[*]} ${promtool_missing:+promtool}. Run this program as root." >&2
        exit 1
    fi
    as_root=(sudo)
fi
export DEBIAN_FRONTEND=noninteractive
made=("$(mktemp -d)") # what is removed in the end
trap '"${as_root[@]}" rm -rf "${made[@]}"' EXIT
"${as_root[@]}" apt-get update
if [ ${#missing[@]} != 0 ]; then
    # The tests start nginx themselves: Debian asks this program whether a package may start its service, and is told no.
    policy=/usr/sbin/policy-rc.d
    if [ ! -e $policy ]; then
        made+=("$policy")
        printf '#!/bin/sh\nexit 101\n' | "${as_root[@]}" tee $policy >/dev/null
        "${as_root[@]}" chmod +x $policy
    fi
    "${as_root[@]}" apt-get install --yes --no-install-recommends "${missing[@]}"
fi
if [ -n "$promtool_missing" ]; then # out of the package prometheus, which would start a server of that name
    (cd "${made[0]}" && apt-get download prometheus && dpkg -x prometheus_*.deb .)
    "${as_root[@]}" install -m 755 "${made[0]}/usr/bin/promtool" /usr/local/bin/promtool
fi
