#!/usr/bin/env bash
# Installs the Debian packages that are missing, and says which and why. Asks for root only when something is missing.
#
# usage: install-packages.sh NAME=WHY...     for example: install-packages.sh "nats-server=carries requests"
set -euo pipefail

missing=()
for entry in "$@"; do
    name=${entry%%=*}
    if ! dpkg-query -W -f '${db:Status-Status}\n' "$name" 2>/dev/null | grep -qx installed; then
        missing+=("$name")
        printf 'missing Debian package %-16s %s\n' "$name" "${entry#*=}"
    fi
done
[ ${#missing[@]} -gt 0 ] || exit 0

as_root=()
if [ "$(id -u)" -ne 0 ]; then
    if ! command -v sudo >/dev/null; then
        echo "error: installing needs root, and there is no sudo. As root, run: apt-get install ${missing[*]}" >&2
        exit 1
    fi
    echo "root is needed for: apt-get install ${missing[*]}"
    as_root=(sudo)
fi

log=$(mktemp)
trap 'rm -f "$log"' EXIT
install() { "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "${missing[@]}" >"$log" 2>&1; }
# The package lists may be missing or too old; then fetch them and try once more.
if ! install && ! { "${as_root[@]}" apt-get update >"$log" 2>&1 && install; }; then
    tail -n 20 "$log" >&2
    echo "error: could not install ${missing[*]}; the lines above are apt-get's" >&2
    exit 1
fi
echo "installed: ${missing[*]}"
