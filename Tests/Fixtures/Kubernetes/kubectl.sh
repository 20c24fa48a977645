# Read by migrate.sh in tests of its steps: a kubectl whose cluster is a few files in the folder $cluster.
#
#   at                  the generation that clients are led to
#   mark                what the script wrote down
#   1, 1-frontend, 2... whether a generation's workers and frontends are there
#   lease               VERSION|HOLDER|SINCE
#   forbidden           the lease may not be changed
#   calls               a line for each call that changes something
#
# The first call that fits the pattern $stop_at sends the script the signal $stop_with. Requests to a generation wait for the file `gate`.

kubectl() {
    local word words=()
    for word in "$@"; do
        case $word in
        --namespace=* | --request-timeout=*) ;;
        *) words+=("$word") ;;
        esac
    done
    set -- "${words[@]}"
    # shellcheck disable=SC2053
    [[ -z $stop_at || $* != $stop_at ]] || ! mkdir "$cluster/stopped" 2>/dev/null || kill -"$stop_with" $$
    case $* in
    get\ *lease*) lease_file show ;;
    create\ *) lease_file create "$(cat)" ;;
    patch\ lease*)
        [ ! -e "$cluster/forbidden" ] || {
            echo 'Error from server (Forbidden): no leases for you' >&2
            return 1
        }
        lease_file patch "$6"
        ;;
    config*) echo default ;;
    'get service chat -o name') echo service/chat ;;
    'get service'*annotations*) cat "$cluster/mark" ;;
    'get service'*selector*) cat "$cluster/at" ;;
    'get pods'*) pod_lines "$4" "$6" ;;
    *endpointslices*service-name=chat\ *) pod_lines "generation=$(<"$cluster/at"),frontend" name ;;
    *endpointslices*) pod_lines generation=2,frontend name ;;
    'get httproute chat -o'*backendRefs*) cat "$cluster/weight" ;;
    'get httproute'*) echo httproute/chat ;;
    rollout*) ;;
    *) changed_call "$@" ;;
    esac
}

changed_call() {
    echo "$*" >>"$cluster/calls"
    case $* in
    annotate*) echo "${5#*=}" >"$cluster/mark" ;;
    *switch.yaml) echo 2 >"$cluster/at" ;;
    *rollback.yaml) echo 1 >"$cluster/at" ;;
    *route.yaml) echo g2-chat-own=0 >"$cluster/weight" ;;
    *route-done.yaml) echo >"$cluster/weight" ;;
    'patch httproute'*) echo "g2-chat-own=$(grep -o '"value": [0-9]*' <<<"$6" | tail -n 1 | tr -cd 0-9)" >"$cluster/weight" ;;
    *generation-2) touch "$cluster/2" "$cluster/2-frontend" ;;
    delete*)
        local word
        for word in "$@"; do
            case $word in
            */g2-chat-frontend) rm -f "$cluster/2-frontend" ;;
            */g2-chat-worker) rm -f "$cluster/2" ;;
            */chat-frontend) rm -f "$cluster/1-frontend" ;;
            */chat-worker) rm -f "$cluster/1" ;;
            esac
        done
        ;;
    esac
}

pod_lines() { # selector, form
    local generation=1 name names=()
    case $1 in *generation=2*) generation=2 ;; esac
    [ ! -e "$cluster/$generation-frontend" ] || names+=("pod-$generation-frontend")
    case $1 in
    *frontend*) ;;
    *) [ ! -e "$cluster/$generation" ] || names+=("pod-$generation-a" "pod-$generation-b") ;;
    esac
    for name in "${names[@]}"; do
        if [ "$2" = name ]; then echo "$name"; else printf '%s\tTrue\t0+0\t\t\n' "$name"; fi
    done
}

# One at a time, as the API server does it.
lease_file() { # what, text
    local code=0 version=0 holder='' since='' value
    until mkdir "$cluster/mutex" 2>/dev/null; do sleep 0.01; done
    [ ! -e "$cluster/lease" ] || IFS='|' read -r version holder since <"$cluster/lease"
    case $1 in
    show)
        cat "$cluster/lease" 2>/dev/null || { echo 'Error from server (NotFound): leases "chat-migration" not found' >&2 && code=1; }
        ;;
    create)
        if [ -e "$cluster/lease" ]; then
            echo 'Error from server (AlreadyExists): leases "chat-migration" already exists' >&2 && code=1
        else
            [[ $2 =~ '"holderIdentity": "'([^\"]*) ]]
            echo "1|${BASH_REMATCH[1]}|2026-01-01T00:00:00.000000Z" >"$cluster/lease"
        fi
        ;;
    patch)
        [[ $2 =~ '"op": "test", "path": "'([^\"]*)'", "value": "'([^\"]*) ]]
        value=$holder
        [ "${BASH_REMATCH[1]}" = /spec/holderIdentity ] || value=$version
        if [ "${BASH_REMATCH[2]}" = "$value" ]; then
            [[ ! $2 =~ '"op": "add", "path": "/spec/holderIdentity", "value": "'([^\"]*) ]] || holder=${BASH_REMATCH[1]}
            echo "$((version + 1))|$holder|$since" >"$cluster/lease"
        else
            echo 'The request is invalid: the server rejected our request due to an error in our request' >&2 && code=1
        fi
        ;;
    esac
    rmdir "$cluster/mutex"
    return $code
}

ask() {
    touch "$cluster/asked"
    until [ -e "$cluster/gate" ]; do sleep 0.05; done
}
counts() { :; }
lock_time=4 observe=1 successes=1
