#!/usr/bin/env bash
# The README's first command as a new user runs it: build, start, paste the printed curl line, stop; then the same on the other
# planes. The launcher that serves must have at most 25 MB resident.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=$(mktemp -d /tmp/dl-quickstart-XXXXXX)
export XDG_STATE_HOME=$folder/state XDG_RUNTIME_DIR=$folder/run
mkdir -p "$XDG_STATE_HOME" "$XDG_RUNTIME_DIR"
launcher=
cleanup() {
    [ -z "$launcher" ] || kill -KILL "$launcher" 2>/dev/null || true
    rm -rf "$folder"
}
trap cleanup EXIT
fail() {
    echo "quickstart check failed: $1" >&2
    cat "$folder/output" >&2
    exit 1
}

run_once() { # seconds to ready, plane flag
    local started=$SECONDS
    # What is waited for below must not be found in the output of the run before.
    : >"$folder/output"
    ./launch/quickstart.sh "$2" >"$folder/output" 2>&1 &
    launcher=$!
    local deadline=$((SECONDS + $1))
    until grep -q '^ *curl ' "$folder/output"; do
        kill -0 "$launcher" 2>/dev/null || fail "$2 ended before it was ready"
        [ $SECONDS -lt $deadline ] || fail "no curl line within $1 s"
        sleep 0.2
    done
    grep -q "Using request plane mode: ${2#--}\$" "$folder/output" || fail "$2 runs on another plane"
    local line answer resident
    line=$(grep -m 1 '^ *curl ' "$folder/output")
    answer=$(bash -c "$line") || fail "the curl line failed: $line"
    case $answer in
        *'"choices"'*) echo "answered: $answer" ;;
        *) fail "the curl line was answered by: $answer" ;;
    esac
    # Its own data, at once: that does not depend on the page cache.
    local own
    own=$(($(awk '/^RssAnon:/ { print $2 }' "/proc/$launcher/status") * 1024))
    [ "$own" -le 10000000 ] || fail "the launcher has $own bytes of its own resident, more than 10 MB"
    # A second after it is ready it gives back what only its start needed, of which the system maps as much as it has at hand.
    deadline=$((SECONDS + 10))
    until
        resident=$(($(awk '/^VmRSS:/ { print $2 }' "/proc/$launcher/status") * 1024))
        [ "$resident" -le 25000000 ]
    do
        [ $SECONDS -lt $deadline ] || fail "the launcher keeps $resident bytes resident, more than 25 MB"
        sleep 0.2
    done
    echo "launcher: $((resident / 1000000)) MB resident, $((own / 1000000)) MB of its own at first"
    kill -INT "$launcher"
    wait "$launcher" || fail "Ctrl-C ended it with $?"
    launcher=
    echo "$2, build check included: $((SECONDS - started)) s"
}

run_once 1800 --tcp
cat "$folder/output"
for plane in --tcp --http --nats; do run_once 120 "$plane"; done
