#!/usr/bin/env bash
# Builds dynamo-launch and starts a deployment: the embedded one, unless a manifest is named.
#
# usage: quickstart.sh [--tcp | --http | --nats] [MANIFEST] [any other option of dynamo-launch up]
#
# Installs the Debian packages that are missing for that, after saying which and why: libraries of the build, and with --nats the
# server, unless there is one. A manifest that uses NATS without --nats says itself where its server is.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
root=$(dirname "$here")

if [ "${1:-}" = -h ] || [ "${1:-}" = --help ]; then
    sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
    exit 0
fi

if ! command -v swift >/dev/null; then
    echo "error: no swift on PATH. Install a Swift 6.2 or newer toolchain: https://www.swift.org/install/linux" >&2
    exit 1
fi
version=$(swift --version 2>/dev/null | sed -n 's/.*Swift version \([0-9]*\.[0-9]*\).*/\1/p' | head -n 1)
if [ "$(printf '6.2\n%s\n' "$version" | sort -V | head -n 1)" != 6.2 ]; then
    echo "error: Swift 6.2 or newer is needed, $(command -v swift) is ${version:-of unknown version}" >&2
    exit 1
fi

"$here/build-packages.sh"

# The last plane flag wins; what follows -- belongs to a process of the deployment.
plane=
for argument in "$@"; do
    case $argument in
        --tcp | --http | --nats) plane=$argument ;;
        --) break ;;
    esac
done
# Debian puts it where not every user's PATH leads; the launcher looks there too.
if [ "$plane" = --nats ] && ! command -v nats-server >/dev/null && [ ! -x /usr/sbin/nats-server ]; then
    "$here/install-packages.sh" "nats-server=carries the requests of the NATS plane (--nats)"
fi

build=$root/.build/release
[ -x "$build/dynamo-launch" ] || echo "building (release; the first time takes about 7 minutes on 2 cores)"
"$here/build-release.sh"

exec "$build/dynamo-launch" up "$@"
