extension MigrationScript {
    /// What changes the cluster, in the order in which it is done.
    static let acting = #"""
        # Whoever has to be asked later is looked for before anything is done.
        need_person() { # what will be asked
            [ "$yes" = 1 ] || [ -t 0 ] || refuse "nobody is here to be asked whether to $1: say --yes; nothing was done"
        }
        # Asks a person unless --yes was given.
        confirm() {
            [ "$yes" = 1 ] && return 0
            local reply
            read -r -p "$deployment: $1? [y/N] " reply
            [ "$reply" = y ] || [ "$reply" = Y ]
        }

        set_weights() { # percent of generation $to
            own_lock
            quick patch httproute "$route" --type=json -p "[
                {\"op\": \"replace\", \"path\": \"/spec/rules/0/backendRefs/0/weight\", \"value\": $((100 - $1))},
                {\"op\": \"replace\", \"path\": \"/spec/rules/0/backendRefs/1/weight\", \"value\": $1}]" >/dev/null
        }

        # Percent of generation $to, where the HTTPRoute is already the one of this migration; else nothing.
        weight() {
            local second
            second=$(quick get httproute "$route" -o 'jsonpath={.spec.rules[0].backendRefs[1].name}={.spec.rules[0].backendRefs[1].weight}' 2>/dev/null) || return 0
            case $second in
            "$to_service="*) printf '%s\n' "${second#*=}" ;;
            esac
        }
        # Whether the API server has the HTTPRoute; one that does not know of any has none.
        has_route() {
            local found
            found=$(quick get httproute "$route" --ignore-not-found -o name 2>&1) || case $found in
            *"doesn't have a resource type"*) return 1 ;;
            *) give_up "the HTTPRoute '$route' cannot be read: ${found##*$'\n'}. Repeat: $0 rollback" ;;
            esac
            [ -n "$found" ]
        }

        # What signals do from now on: a function that is told the exit code.
        on_signal() {
            trap "$1 129" HUP
            trap "$1 130" INT
            trap "$1 143" TERM
        }
        untouched() {
            complain "it was interrupted; this run has changed nothing"
            exit "$1"
        }
        take_back() { undo "it was interrupted"; }

        # Takes everything back; what is left afterwards is as it was before 'apply'.
        roll_back() {
            local percent=
            trap '' INT TERM HUP
            again mark rolling-back || give_up "the rollback cannot be begun: the Service '$service' cannot be changed. Repeat: $0 rollback"
            [ -z "$route" ] || percent=$(weight)
            if [ "$(clients_at)" != "$from" ] || [ "${percent:-0}" != 0 ]; then
                # Clients are not led away from the only generation that could serve them.
                [ -n "$(ready_pods "$from_frontends")" ] ||
                    give_up "clients stay with generation $to: no frontend of generation $from is ready. Start generation $from, then repeat: $0 rollback"
                say "clients are led back to generation $from"
            fi
            if [ -n "$route" ] && has_route; then
                again change apply -f "$here/route.yaml" >/dev/null || give_up "the weights of the HTTPRoute '$route' cannot be set back. Repeat: $0 rollback"
            fi
            again change apply -f "$here/rollback.yaml" >/dev/null || give_up "rollback.yaml cannot be applied. Repeat: $0 rollback"
            until_leads_to "$service" "$from_frontends" 60 ||
                give_up "the Service '$service' does not lead to generation $from after 60 s; generation $to is kept. Repeat: $0 rollback"
            again remove_next || give_up "generation $to cannot be deleted. Repeat: $0 rollback"
            again mark rolled-back || true
        }
        remove_next() {
            close_frontends "$new_graph" "$new_graph_patch" "$to_frontends" "${new_frontends[@]}" &&
                delete "${new_objects[@]}" && until_gone "$to_pods"
        }
        undo() { # why
            trap '' INT TERM HUP
            complain "failed: $1"
            [ "$1" = 'it was interrupted' ] || explain
            complain "it is taken back"
            roll_back
            complain "taken back: generation $from ($from_plane) serves as before; generation $to is gone. Once more: $0 all"
            exit 2
        }

        delete() { [ $# -eq 0 ] || change delete --ignore-not-found --wait=true --timeout="${stop_timeout}s" "$@" >/dev/null; }
        # Frontends go before workers: clients that keep their connections are still at the old ones, until these end.
        close_frontends() { # graph, patch, selector, deployments...
            local graph=$1 patch=$2 selector=$3
            shift 3
            if [ -n "$graph" ] && [ -z "$patch" ]; then
                # Only the operator may scale what has an autoscaler: the graph goes at once.
                delete "$graph" || return 1
            elif [ -n "$graph" ] && [ -n "$(quick get "$graph" --ignore-not-found -o name)" ]; then
                own_lock
                quick patch "$graph" --type=json -p "$patch" >/dev/null || return 1
            fi
            delete "$@" && until_gone "$selector"
        }
        until_gone() { # selector of pods
            local end=$((SECONDS + stop_timeout)) left
            while left=$(quick get pods -l "$1" -o name); do
                [ -n "$left" ] || return 0
                [ "$SECONDS" -lt "$end" ] || return 1
                sleep 0.5
            done
            return 1
        }

        # Generation $from is still there; else nothing could be taken back.
        need_way_back() {
            case $(state) in
            done | retiring) refuse "generation $from is deleted or being deleted: '$command' has nothing to do. Look at it with: $0 status" ;;
            esac
        }

        do_apply() {
            local at
            need_way_back
            at=$(clients_at)
            [ "$at" = "$from" ] || refuse "clients are with generation $at: generation $to is not applied anew under them. Go on with '$0 observe', or go back with '$0 rollback'"
            say "generation $to ($to_plane) is created"
            mark applied || refuse "the Service '$service' cannot be changed; nothing was done"
            apply_servers
            apply_objects "$here/generation-$to"
            if [ -n "$route" ]; then
                # With everything for generation $from, unless an earlier run went further.
                case $(weight) in
                '' | 0) change apply -f "$here/route.yaml" >/dev/null || undo "the HTTPRoute '$route' cannot be applied" ;;
                esac
            fi
        }
        apply_objects() { # files or folders
            local file files=()
            for file in "$@"; do files+=(-f "$file"); done
            change apply "${files[@]}" >"$work/applied" 2>&1 || {
                cat "$work/applied" >&9
                undo "the objects of generation $to cannot be applied"
            }
        }
        # Processes that do not find the servers of their planes end and begin again, so the servers come first.
        apply_servers() {
            local file first=() server end=$((SECONDS + start_timeout))
            [ ${#servers[@]} -gt 0 ] || return 0
            for file in "$here/generation-$to"/*.yaml; do
                grep -qE '^kind: "?(Deployment|DynamoGraphDeployment|HorizontalPodAutoscaler)"?$' "$file" || first+=("$file")
            done
            apply_objects "${first[@]}"
            for server in "${servers[@]}"; do
                until k rollout status "$server" --timeout=3s >"$work/rollout" 2>&1; do
                    [ "$SECONDS" -lt "$end" ] || undo "$server is not ready within $start_timeout s (--timeout)"
                    sleep 0.5
                done
            done
        }

        do_wait() {
            local workload end=$((SECONDS + start_timeout)) count now
            need_way_back
            say "waiting for generation $to, at most $start_timeout s"
            wait_more() { # for what
                [ "$SECONDS" -lt "$end" ] || undo "generation $to is not ready within $start_timeout s (--timeout): $1 is not"
                count=$(most_ends) || count=0
                [ "$count" -lt "$most_restarts" ] || undo "a container of generation $to ended $count times before it was ready"
            }
            for workload in "${workloads[@]}"; do
                until k rollout status "$workload" --timeout=3s >"$work/rollout" 2>&1; do
                    # Also when its progress deadline is over: a model may take longer.
                    wait_more "$workload"
                    sleep 0.5
                done
            done
            until now=$(ready_pods "$to_pods" | grep -c . || true) && [ "$now" -ge "$pods_wanted" ]; do
                wait_more "all of its $pods_wanted pods ($now are)"
                sleep 0.5
            done
            until_leads_to "$to_service" "$to_frontends" 30 || undo "the Service '$to_service' has no endpoints although the frontends are ready"
        }

        do_verify() {
            local good=0 end=$((SECONDS + verify_timeout))
            need_way_back
            say "asking generation $to itself, through the API server"
            until [ "$good" -ge "$successes" ]; do
                if ask "$to_service" "$to_port"; then
                    good=$((good + 1))
                    continue
                fi
                good=0
                [ "$SECONDS" -lt "$end" ] ||
                    undo "generation $to does not answer $successes requests in a row within $verify_timeout s: $trouble"
                sleep 0.5
            done
        }

        switch_service() {
            mark switched || undo "the Service '$service' cannot be changed"
            change apply -f "$here/switch.yaml" >/dev/null || undo "switch.yaml cannot be applied"
            until_leads_to "$service" "$to_frontends" 60 || undo "the Service '$service' does not lead to generation $to after 60 s"
            say "clients are led to generation $to ($to_plane)"
        }
        do_switch() {
            local step
            need_way_back
            if [ "$(clients_at)" = "$to" ]; then
                # An earlier run has led everybody over: nobody is led back by weights.
                switch_service
                return 0
            fi
            need_person "lead clients to generation $to"
            [ -n "$(endpoints "$to_service")" ] || undo "generation $to has no frontend that is ready: run '$0 apply', 'wait' and 'verify' first"
            confirm "lead clients to generation $to (no: generation $to is deleted)" || undo "a person said no"
            if [ -n "$route" ]; then
                for step in ${steps//,/ }; do
                    set_weights "$step" || undo "the weights of the HTTPRoute '$route' cannot be set"
                    say "$step percent of the HTTPRoute's requests go to generation $to"
                    [ "$step" = 100 ] || watch_it "$to_service" "$to_port"
                done
            fi
            switch_service
        }

        # Watches generation $to for a while; takes it back when it does worse than is allowed.
        watch_it() { # service, port
            local end=$((SECONDS + observe)) asked=0 failed=0 first now before after total errors
            first=$(restarts) || undo "the pods of generation $to cannot be read"
            before=$(counts) || before=
            [ -n "$before" ] || say "note: the frontends' metrics cannot be read; only requests of this script are counted"
            while [ "$SECONDS" -lt "$end" ]; do
                asked=$((asked + 1))
                if ! ask "$1" "$2"; then
                    failed=$((failed + 1))
                    complain "a request failed: $trouble"
                fi
                too_many "$failed" "$asked" && undo "$failed of $asked requests of this script failed (allowed: $error_rate per 1000)"
                now=$(restarts) || now=$first
                [ "$now" -lt $((first + 2)) ] || undo "containers of generation $to ended $((now - first)) times while it was watched"
                after=$(counts) || after=
                if [ -n "$before" ] && [ -n "$after" ]; then
                    total=$((${after% *} - ${before% *}))
                    errors=$((${after#* } - ${before#* }))
                    too_many "$errors" "$total" && undo "$errors of $total requests at the frontends of generation $to failed (allowed: $error_rate per 1000)"
                fi
                sleep 0.2
            done
            now=$(ready_pods "$to_pods" | grep -c . || true)
            [ "$now" -ge "$pods_wanted" ] || undo "only $now of $pods_wanted pods of generation $to are ready after it was watched"
            say "watched for $observe s: $asked requests of this script, $failed failed${total:+; at the frontends $total, $errors failed}"
        }
        too_many() { # failed, of how many
            [ $(($1 * 1000)) -gt $((error_rate * ($2 > least ? $2 : least))) ]
        }

        do_observe() {
            need_way_back
            [ "$(clients_at)" = "$to" ] || refuse "clients are with generation $(clients_at), so there is nothing to watch: run '$0 switch' first"
            watch_it "$service" "$port"
        }

        kept() {
            complain "it was interrupted: generation $from is kept. Clients are with generation $to; go on with '$0 finish', or go back with '$0 rollback'"
            exit "$1"
        }
        unfinished() {
            local now
            now=$(state) && [ "$now" != retiring ] && kept "$1"
            complain "it was interrupted: generation $to ($to_plane) serves, and generation $from is deleted in part: there is no way back. Go on with: $0 finish"
            exit "$1"
        }
        do_finish() {
            [ "$(state)" = retiring ] && on_signal unfinished || on_signal kept
            [ "$(clients_at)" = "$to" ] || refuse "clients are with generation $(clients_at): generation $from is still needed"
            leads_to "$service" "$to_frontends" || refuse "the Service '$service' does not lead to ready frontends of generation $to: generation $from is kept"
            need_person "delete generation $from for good"
            confirm "delete generation $from for good" || {
                say "a person said no; generation $from is kept"
                [ "$command" = all ] || exit 1
                return 0
            }
            on_signal unfinished
            mark retiring || refuse "the Service '$service' cannot be changed; generation $from is kept"
            if [ -n "$route" ]; then
                change apply -f "$here/route-done.yaml" >/dev/null || give_up "route-done.yaml cannot be applied. Repeat: $0 finish"
            fi
            close_frontends "$old_graph" "$old_graph_patch" "$from_frontends" "${old_frontends[@]}" &&
                delete "${old_objects[@]}" && until_gone "$from_pods" || give_up "generation $from cannot be deleted. Repeat: $0 finish"
            again mark done || give_up "the Service '$service' cannot be marked. Repeat: $0 finish"
            say "generation $from is gone; generation $to ($to_plane) serves"
        }

        """#
}
