#!/usr/bin/env bash
# Aggregated serving with vLLM on the request plane of your choice: a frontend and one worker.
#
# usage: agg_request_planes.sh [--tcp | --http | --nats] [any other option of dynamo-launch up]
#
# The processes, their flags and their ports stand in agg_request_planes.yaml beside this script.
# DYN_HTTP_PORT (8000) and DYN_SYSTEM_PORT (8081) set the ports.
set -euo pipefail
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)

case " $* " in
    *" -h "* | *" --help "*)
        sed -n '2,7s/^# \{0,1\}//p' "${BASH_SOURCE[0]}"
        exit 0
        ;;
esac

launcher=$(command -v dynamo-launch || true)
for built in "$here/../.build/release/dynamo-launch" "$here/../.build/debug/dynamo-launch"; do
    [ -n "$launcher" ] || { [ -x "$built" ] && launcher=$built; } || true
done
if [ -z "$launcher" ]; then
    echo "error: no dynamo-launch on PATH and none built here; run $here/quickstart.sh once" >&2
    exit 1
fi
exec "$launcher" up --exit-on-first "$here/agg_request_planes.yaml" "$@"
