extension MigrationScript {
    /// What each command does, and which one is wanted.
    static let commands = #"""
        do_status() {
            local now holder since
            now=$(state)
            say "$(where_clients_are); an earlier run of this script: ${now:-none}"
            if now=$(lease 2>/dev/null) && IFS='|' read -r _ holder since <<<"$now" && [ -n "$holder" ]; then
                say "a run has the lock: $(describe "$holder" "$since")$(! is_gone "$holder" || printf ', which has ended without a word')"
            fi
            say "pods that are ready: generation $from: $(ready_pods "$from_pods" | grep -c . || true), generation $to: $(ready_pods "$to_pods" | grep -c . || true)"
        }

        do_all() {
            local now at
            now=$(state)
            at=$(clients_at)
            case $now in
            done)
                say "generation $to serves, and generation $from is gone: nothing is left to do"
                return 0
                ;;
            retiring)
                say "an earlier run was deleting generation $from; it goes on"
                do_finish
                return 0
                ;;
            rolling-back)
                complain "an earlier run was taking generation $to back; it goes on"
                roll_back
                complain "taken back: generation $from serves as before; run '$0 all' again to try once more"
                exit 2
                ;;
            esac
            case $at in
            "$from")
                need_person "lead clients to generation $to"
                do_apply
                do_wait
                do_verify
                do_switch
                ;;
            "$to")
                [ "$retire" = 0 ] || need_person "delete generation $from for good"
                say "an earlier run has led clients to generation $to; it goes on"
                ;;
            *) refuse "clients are with $at: this script is for generation $from" ;;
            esac
            do_observe
            if [ "$retire" = 1 ]; then
                do_finish
            else
                say "generation $from is kept; delete it with '$0 finish', or go back with '$0 rollback'"
            fi
        }

        do_rollback() {
            case $(state) in
            done | retiring) give_up "generation $from is deleted or being deleted: it cannot be gone back to. Generate a migration back to $from_plane" ;;
            esac
            need_person "lead clients back to generation $from, and delete generation $to"
            confirm "lead clients back to generation $from, and delete generation $to" || refuse "a person said no; nothing was changed"
            roll_back
            say "generation $from ($from_plane) serves; generation $to is gone"
        }

        do_dry_run() {
            local files=(-f "$here/generation-$to" -f "$here/switch.yaml" -f "$here/rollback.yaml")
            [ -z "$route" ] || files+=(-f "$here/route.yaml" -f "$here/route-done.yaml")
            k apply --dry-run=server "${files[@]}" || refuse "the API server refuses the objects"
            say "clients are with generation $(clients_at); '$command' would go on from there; nothing was changed"
        }

        command=
        while [ $# -gt 0 ]; do
            case $1 in
            --namespace | --context | --steps | --observe | --timeout | --successes)
                [ $# -ge 2 ] || refuse "$1 needs a value; see $0 --help"
                case $1 in
                --namespace)
                    [ -z "$namespace" ] || [ "$namespace" = "$2" ] || refuse "the objects are for the namespace '$namespace', not '$2': generate them for it"
                    namespace=$2
                    ;;
                --context) context=$2 ;;
                --steps)
                    [ -n "$route" ] || refuse "--steps needs an HTTPRoute: a Service leads all clients to one generation. Set 'kubernetes.route' in the manifest"
                    [[ $2 =~ ^([1-9][0-9]?,)*100$ ]] || refuse "--steps are percents that end with 100, such as 5,25,100; not '$2'"
                    steps=$2
                    ;;
                --observe) observe=$(seconds --observe "$2") ;;
                --timeout) start_timeout=$(seconds --timeout "$2") ;;
                --successes)
                    [[ $2 =~ ^[1-9][0-9]{0,3}$ ]] || refuse "--successes is a number from 1, not '$2'"
                    successes=$2
                    ;;
                esac
                shift
                ;;
            --retire) retire=1 ;;
            --yes) yes=1 ;;
            --take-over) take_over=1 ;;
            --dry-run) dry_run=1 ;;
            --help | -h)
                usage
                exit 0
                ;;
            -*) refuse "unknown option '$1'; see $0 --help" ;;
            apply | wait | verify | switch | observe | finish | rollback | status | all)
                [ -z "$command" ] || refuse "one command at a time: '$command' or '$1'"
                command=$1
                ;;
            *) refuse "unknown command '$1'; see $0 --help" ;;
            esac
            shift
        done
        [ -n "$command" ] || {
            usage >&2
            exit 1
        }
        command -v kubectl >/dev/null || refuse "kubectl is not there: install it"
        if [ -z "$namespace" ]; then
            namespace=$(kubectl ${context:+--context="$context"} config view --minify -o 'jsonpath={..namespace}') || refuse "kubectl has no cluster to talk to"
            namespace=${namespace:-default}
        fi
        work=$(mktemp -d)
        leave() {
            local code=$?
            trap '' INT TERM HUP
            release_lock
            [ -z "$proxy_pid" ] || kill "$proxy_pid" 2>/dev/null || true
            rm -rf "$work"
            # A failure that nothing else has dealt with, such as an API server that cannot be reached any more.
            [ "$code" != 1 ] || [ "$changed" = 0 ] || {
                complain "this run ended in the middle; repeat: $0 $command, or: $0 rollback"
                exit 3
            }
        }
        trap leave EXIT
        trap '' PIPE
        on_signal untouched
        found=$(quick get service "$service" -o name 2>&1) ||
            refuse "the clients' Service '$service' cannot be read in the namespace '$namespace': ${found##*$'\n'}"
        if [ "$dry_run" = 1 ]; then
            do_dry_run
            exit 0
        fi
        self=$(who_am_i)
        [ "$command" = status ] || take_lock
        case $command in
        apply | wait | verify | switch | observe | all) on_signal take_back ;;
        esac
        "do_$command"
        """#
}
