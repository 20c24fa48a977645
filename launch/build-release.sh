#!/usr/bin/env bash
# Builds what the quickstart and a host run, in the release configuration; prints only what is wrong.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
log=$(mktemp)
trap 'rm -f "$log"' EXIT
for product in dynamo-launch dynamo-frontend dynamo-worker dynamo-router; do
    if ! swift build -c release --static-swift-stdlib --package-path "$root" --product "$product" >"$log" 2>&1; then
        cat "$log" >&2
        echo "error: $product could not be built; the lines above are the compiler's" >&2
        exit 1
    fi
done
