#!/usr/bin/env bash
# The Debian packages that the build needs, each with its reason.
set -euo pipefail
exec "$(dirname "$0")/install-packages.sh" \
    "pkg-config=finds the libraries below" \
    "libsystemd-dev=readiness notification to systemd" \
    "libnats-dev=client of the NATS planes" \
    "libzmq3-dev=KV events of engines" \
    "libxxhash-dev=KV block hashes"
