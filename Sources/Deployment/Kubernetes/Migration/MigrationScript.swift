/// The part of `migrate.sh` that is the same for every deployment.
///
/// It begins with variables, which `MigrationVariables` writes: nothing of a deployment's own is in here.
enum MigrationScript {
    /// Everything after the variables.
    static var text: String { self.reading + self.locking + self.acting + self.commands + "\n" }

    /// Options, what is said, and what is read from the cluster.
    static let reading = #"""
        usage() {
            cat <<END
        usage: migrate.sh [options] apply|wait|verify|switch|observe|finish|rollback|status|all

        Moves the deployment '$deployment' from generation $from ($from_plane) to generation $to ($to_plane), with kubectl alone.

          apply     creates generation $to beside generation $from; clients are not touched
          wait      until every pod of generation $to is ready
          verify    until generation $to answers $successes requests in a row, through its own frontend
          switch    leads clients to generation $to
          observe   watches generation $to: requests, errors that its frontends count, restarts, readiness
          finish    deletes generation $from; there is no way back afterwards
          rollback  leads clients back to generation $from, and deletes generation $to
          status    says who has the clients; changes nothing
          all       apply, wait, verify, switch and observe; with --retire also finish

          --namespace NAME   of the deployment; default: that of the objects, else kubectl's
          --context NAME     of kubectl
          --steps LIST       percent that generation $to gets step by step (only with an HTTPRoute); default: ${steps:-100}
          --observe TIME     how long it is watched after each step (30, 30s, 2m); default: ${observe}s
          --timeout TIME     how long generation $to may take to be ready; default: ${start_timeout}s
          --successes N      requests in a row that prove generation $to; default: $successes
          --retire           'all' ends with 'finish'
          --yes              nobody is asked
          --take-over        goes on although another run has the lock, which then stops
          --dry-run          the API server checks the objects; nothing is changed

        Whatever fails before 'finish' is taken back at once, also by Ctrl-C. Each command can be repeated, also after this script was
        killed. One run at a time: the Lease '$lease' says whose.

        exit codes: 0 done; 1 wrong usage, the cluster cannot be reached, or another run is at it: nothing was changed by this run;
        2 taken back: generation $from serves as before; 3 neither done nor taken back: people are needed; 129, 130 or 143 interrupted
        before anything was changed, or in 'finish': repeat it
        END
        }

        # What a signal leads to is said although the output of the command that it met goes elsewhere; and nobody who listens any more,
        # such as a closed terminal, is no reason to stop half way.
        exec 8>&1 9>&2
        say() { printf '%s: %s\n' "$deployment" "$*" 2>/dev/null >&8 || true; }
        complain() { say "$@" 8>&9; }
        # Nothing was changed.
        refuse() {
            complain "$1"
            exit 1
        }
        # Something is as it should not be, and this script cannot help it.
        give_up() {
            local at
            trap '' INT TERM HUP
            complain "$1"
            at=$(where_clients_are 2>/dev/null) || at='who has the clients cannot be read'
            complain "$at. Both generations are left as they are; look at them with: kubectl get pods -l $all_pods"
            exit 3
        }

        k() { kubectl ${context:+--context="$context"} --namespace="$namespace" "$@"; }
        quick() { k --request-timeout=20s "$@"; }
        # What must not be done by two at once.
        change() {
            own_lock
            k "$@"
        }
        # Of what is there to be repeated: a cluster that is away for a moment, or a kubectl that a second Ctrl-C has ended.
        again() { "$@" || { sleep 1 && "$@"; } || { sleep 1 && "$@"; }; }

        seconds() { # what, text
            [[ $2 =~ ^[0-9]{1,7}[ms]?$ ]] || refuse "$1 is a time such as 30s or 2m, not '$2'"
            case $2 in
            *m) printf '%s\n' $((10#${2%m} * 60)) ;;
            *) printf '%s\n' $((10#${2%s})) ;;
            esac
        }

        service_field() { quick get service "$service" -o "jsonpath={$1}"; }
        # Which generation clients are led to by the Service.
        clients_at() {
            local value
            value=$(service_field ".spec.selector.${selector_key//./\\.}") || return 1
            case $value in
            "$selector_from") printf '%s\n' "$from" ;;
            "$selector_to") printf '%s\n' "$to" ;;
            *) printf '%s\n' "another one ($selector_key: '$value')" ;;
            esac
        }
        where_clients_are() {
            local at percent=
            at=$(clients_at) || return 1
            [ -z "$route" ] || percent=$(weight)
            printf '%s\n' "clients are with generation $at${percent:+ (by the HTTPRoute $percent percent of them with generation $to)}"
        }
        # What an earlier run wrote down.
        state() {
            local text
            text=$(service_field '.metadata.annotations.dynamo-launch/migration') || return 1
            case $text in
            "$from-to-$to."*) printf '%s\n' "${text##*.}" ;;
            esac
        }
        mark() {
            own_lock
            quick annotate service "$service" --overwrite "dynamo-launch/migration=$from-to-$to.$1" >/dev/null || return 1
            changed=1
        }

        # NAME READY RESTARTS ENDING WHY, a line for each pod of a selector.
        pods() {
            quick get pods -l "$1" -o 'jsonpath={range .items[*]}{.metadata.name}{"\t"}{.status.conditions[?(@.type=="Ready")].status}{"\t"}{range .status.containerStatuses[*]}{.restartCount}{"+"}{end}0{"\t"}{.metadata.deletionTimestamp}{"\t"}{range .status.initContainerStatuses[*]}{.state.waiting.reason}{" "}{.state.waiting.message}{" "}{end}{range .status.containerStatuses[*]}{.state.waiting.reason}{" "}{.state.waiting.message}{" "}{end}{"\n"}{end}'
        }
        restarts() { pods "$to_pods" | awk -F '\t' '{ n = split($3, part, "+"); for (i = 1; i <= n; i++) sum += part[i] } END { print sum + 0 }'; }
        # How often the one of them ended that ended most.
        most_ends() { pods "$to_pods" | awk -F '\t' '{ n = split($3, part, "+"); for (i = 1; i <= n; i++) if (part[i] + 0 > most) most = part[i] + 0 } END { print most + 0 }'; }
        # Without those that are ending, which stay ready for a moment.
        ready_pods() { pods "$1" | awk -F '\t' '$2 == "True" && $4 == "" { print $1 }'; }
        # What people need to know of pods that are not ready.
        explain() {
            local name
            pods "$to_pods" | awk -F '\t' '$2 != "True" { print "  pod " $1 " is not ready (restarts: " $3 ") " $5 }' >&9 || true
            for name in $(pods "$to_pods" | awk -F '\t' '$2 != "True" { print $1 }' | head -n 3); do
                complain "  the last lines of $name:"
                quick logs "$name" --all-containers --tail=5 2>&1 | sed 's/^/    /' >&9 || true
            done
        }

        # Pods that a Service leads to now.
        endpoints() {
            quick get endpointslices -l "kubernetes.io/service-name=$1" -o \
                'jsonpath={range .items[*]}{range .endpoints[?(@.conditions.ready==true)]}{.targetRef.name}{"\n"}{end}{end}'
        }
        # Whether a Service leads to pods of a selector, and to no others.
        leads_to() { # service, selector
            local now wanted
            now=$(endpoints "$1") || return 1
            wanted=$(ready_pods "$2") || return 1
            [ -n "$now" ] && [ -z "$(grep -vxF -- "$wanted" <<<"$now" || true)" ]
        }
        until_leads_to() { # service, selector, seconds
            local end=$((SECONDS + $3))
            until leads_to "$1" "$2"; do
                [ "$SECONDS" -lt "$end" ] || return 1
                sleep 0.5
            done
        }

        proxy() { printf '/api/v1/namespaces/%s/services/%s:%s/proxy%s\n' "$namespace" "$1" "$2" "$3"; }
        # 'kubectl create --raw' says nothing of the kind of its body, which frontends insist on; 'kubectl proxy' passes on what it gets.
        start_proxy() {
            [ -z "$proxy_pid" ] || ! kill -0 "$proxy_pid" 2>/dev/null || return 0
            : >"$work/proxy"
            kubectl ${context:+--context="$context"} proxy --port=0 >"$work/proxy" 2>&1 8>&- 9>&- &
            proxy_pid=$!
            printf '%s\n' "$proxy_pid" >"$work/proxy_pid"
            until [[ $(<"$work/proxy") =~ 127\.0\.0\.1:([0-9]+) ]]; do
                kill -0 "$proxy_pid" 2>/dev/null || {
                    trouble="kubectl proxy ended: $(<"$work/proxy")"
                    return 1
                }
                sleep 0.1
            done
            proxy_port=${BASH_REMATCH[1]}
        }
        # Whether a request is answered with a completion.
        http() { # method, path, body
            local answer LC_ALL=C
            start_proxy || return 1
            answer=$(
                exec 3<>"/dev/tcp/127.0.0.1/$proxy_port" || exit 1
                printf '%s %s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %s\r\nConnection: close\r\n\r\n%s' \
                    "$1" "$2" "${#3}" "$3" >&3
                timeout "$request_timeout" cat <&3 | tr -d '\0\r'
            ) || {
                trouble="no answer within $request_timeout s"
                return 1
            }
            case $answer in
            'HTTP/1.1 200 '*'"choices"'*) return 0 ;;
            esac
            # The first line says the status; the last ones say why.
            trouble="${answer%%$'\n'*}; ${answer#*$'\n\n'}"
            trouble=${trouble:0:400}
            return 1
        }
        # One request with a short answer; why it failed is in $trouble.
        ask() { # service, port
            local answer
            if [ -z "$model_json" ]; then
                answer=$(quick get --raw "$(proxy "$1" "$2" /v1/models)" 2>&1) || {
                    trouble=${answer:0:300}
                    return 1
                }
                model_json=$(grep -o '"id": *"[^"]*"' <<<"$answer" | head -n 1 | sed 's/^"id": *//' || true)
                if [ -z "$model_json" ]; then
                    trouble='no model is listed'
                    return 1
                fi
            fi
            http POST "$(proxy "$1" "$2" "$endpoint")" "{\"model\": $model_json, $question, \"stream\": false}" || return 1
        }
        # TOTAL ERRORS as the frontends of generation $to count them; nothing when they do not.
        counts() {
            local name
            for name in $(endpoints "$to_service"); do
                quick get --raw "/api/v1/namespaces/$namespace/pods/$name:$frontend_port/proxy/metrics" 2>/dev/null || true
            done | awk '
                /^dynamo_frontend_requests_total\{/ {
                    seen = 1; total += $NF
                    if ($0 ~ /status="error"/ && $0 !~ /error_type="(validation|not_found|cancelled)"/) errors += $NF
                }
                END { if (seen) print total + 0, errors + 0 }'
        }

        """#
}
