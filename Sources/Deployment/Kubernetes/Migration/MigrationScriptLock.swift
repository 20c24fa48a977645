extension MigrationScript {
    /// One run at a time: a Lease of the deployment says whose it is.
    ///
    /// Whoever has it renews it. Changes of it are JSON patches that test what they change, so of two runs one is refused by the API
    /// server. Clocks of different machines are not compared: a lock is left behind when nobody renews it while it is looked at.
    static let locking = #"""
        # Who runs this, as others are told: USER@MACHINE/COMMAND/PROCESS/BOOT/SECONDS.
        who_am_i() {
            local boot='' space='' user
            if [ -r /proc/sys/kernel/random/boot_id ]; then
                space=$(readlink /proc/self/ns/pid 2>/dev/null | tr -cd 0-9) || space=
                [ -z "$space" ] || boot=$(</proc/sys/kernel/random/boot_id)-$space
            else
                boot=$(sysctl -n kern.bootsessionuuid 2>/dev/null) || boot=
            fi
            user=$(id -un 2>/dev/null || id -u)
            printf '%s@%s/%s/%s/%s/%s' "$user" "${HOSTNAME:-here}" "$command" "$$" "$boot" "$(date +%s)" | tr -cd 'A-Za-z0-9@/._-'
        }
        # VERSION|HOLDER|SINCE of the lock.
        lease() { quick get lease "$lease" -o 'jsonpath={.metadata.resourceVersion}|{.spec.holderIdentity}|{.spec.acquireTime}'; }
        lease_time() { date -u +%Y-%m-%dT%H:%M:%S.000000Z; }
        create_lease() {
            local now
            now=$(lease_time)
            quick create -f - <<END
        {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": {"name": "$lease", "labels": {
        "app.kubernetes.io/name": "dynamo", "app.kubernetes.io/instance": "$deployment", "app.kubernetes.io/managed-by": "dynamo-launch"}},
        "spec": {"holderIdentity": "$1", "leaseDurationSeconds": $lock_time, "acquireTime": "$now", "renewTime": "$now"}}
        END
        }
        patch_lease() { # what is tested, what it must be, more operations
            quick patch lease "$lease" --type=json -p "[{\"op\": \"test\", \"path\": \"$1\", \"value\": \"$2\"},
                {\"op\": \"add\", \"path\": \"/spec/renewTime\", \"value\": \"$(lease_time)\"}$3]" 2>&1
        }
        holder_is() { printf ', {"op": "add", "path": "/spec/holderIdentity", "value": "%s"}' "$1"; }
        describe() { # holder, since
            local who what process rest
            IFS=/ read -r who what process rest <<<"$1"
            printf "%s ('%s', process %s, since %s)" "$who" "$what" "$process" "${2%.*}"
        }
        # Whether a holder is a process of this machine that is gone.
        is_gone() { # holder
            local who what process boot rest my_who my_boot
            IFS=/ read -r who what process boot rest <<<"$1"
            IFS=/ read -r my_who what rest my_boot rest <<<"$self"
            [ "$who" = "$my_who" ] && [ -n "$boot" ] && [ "$boot" = "$my_boot" ] && ! kill -0 "$process" 2>/dev/null
        }

        take_lock() {
            local line version holder since seen='' end=$((SECONDS + lock_time)) pause
            while :; do
                pause=0
                if ! line=$(lease 2>&1); then
                    case $line in
                    *NotFound*) ;;
                    *) refuse "the lock '$lease' cannot be read: ${line##*$'\n'}" ;;
                    esac
                    if line=$(create_lease "$self" 2>&1); then
                        # Who may make it and not change it would lose it in mid-migration.
                        line=$(patch_lease /spec/holderIdentity "$self" '') && break
                        refuse "the lock '$lease' was made and cannot be renewed: ${line##*$'\n'}"
                    fi
                    case $line in
                    *AlreadyExists*) continue ;;
                    *) refuse "the lock '$lease' cannot be made: ${line##*$'\n'}" ;;
                    esac
                fi
                IFS='|' read -r version holder since <<<"$line"
                if [ -z "$holder" ]; then
                    :
                elif is_gone "$holder"; then
                    say "an earlier run ended without a word: $(describe "$holder" "$since")"
                elif [ "$take_over" = 1 ]; then
                    pause=$lock_time
                elif [ -z "$seen" ]; then
                    say "another run has the lock: $(describe "$holder" "$since"); watching for $lock_time s whether it is there"
                    seen=$version
                    continue
                elif [ "$version" != "$seen" ]; then
                    refuse "another run is at it: $(describe "$holder" "$since"). Nothing was done. Wait until it has ended, or end it with Ctrl-C; if nobody can: $0 $command --take-over"
                elif [ "$SECONDS" -lt "$end" ]; then
                    sleep 0.5
                    continue
                else
                    say "it is not: the lock was not renewed for $lock_time s"
                fi
                line=$(patch_lease /metadata/resourceVersion "$version" "$(holder_is "$self"), {\"op\": \"add\", \"path\": \"/spec/acquireTime\", \"value\": \"$(lease_time)\"}") && break
                # Another run was quicker, or it is not ours to change.
                [[ $(lease 2>/dev/null) != "$version|"* ]] || refuse "the lock '$lease' cannot be taken: ${line##*$'\n'}"
            done
            me=$self
            note_renewal
            trap lost USR1
            keep_lock </dev/null >/dev/null 2>&1 8>&- 9>&- &
            keeper=$!
            [ "$pause" = 0 ] || {
                say "the lock is taken from $(describe "$holder" "$since"), which has $pause s to see it"
                sleep "$pause"
            }
        }
        # Two processes write it while they read it: it is whole at every moment.
        note_renewal() {
            local next=$work/renewed.$BASHPID
            date +%s >"$next"
            mv "$next" "$work/renewed"
        }
        # Fails when another one has the lock.
        renew() {
            local line
            if patch_lease /spec/holderIdentity "$me" '' >/dev/null; then
                note_renewal
            elif line=$(lease 2>&1); then
                IFS='|' read -r _ line _ <<<"$line"
                [ "$line" = "$me" ]
            else
                case $line in *NotFound*) return 1 ;; esac
            fi
        }
        # Beside the script; also removes what it leaves behind when it is killed.
        keep_lock() {
            local count=0
            while sleep 1; do
                kill -0 $$ 2>/dev/null || {
                    [ ! -s "$work/proxy_pid" ] || kill "$(<"$work/proxy_pid")" 2>/dev/null || true
                    rm -rf "$work"
                    exit 0
                }
                count=$((count + 1))
                [ $((count % (lock_time / 4))) != 0 ] || renew || kill -USR1 $$
            done
        }
        # Nothing is changed by a run that cannot be sure of its lock: it may have slept while another one took over.
        own_lock() {
            [ -n "$me" ] || return 0
            [ $(($(date +%s) - $(<"$work/renewed"))) -ge $((lock_time * 2 / 3)) ] || return 0
            renew || lost
            [ $(($(date +%s) - $(<"$work/renewed"))) -lt $((lock_time * 2 / 3)) ] || give_up "the lock '$lease' cannot be renewed, so another run may have it. Repeat: $0 $command"
        }
        lost() {
            local line='' who='somebody'
            trap '' INT TERM HUP USR1
            line=$(lease 2>/dev/null) && IFS='|' read -r _ who line <<<"$line" && who=$(describe "$who" "$line")
            me=''
            complain "the lock was taken by $who: this run stops where it is, and changes nothing more. See: $0 status"
            exit 3
        }
        release_lock() {
            [ -z "$keeper" ] || kill "$keeper" 2>/dev/null || true
            [ -z "$me" ] || patch_lease /spec/holderIdentity "$me" "$(holder_is '')" >/dev/null || true
        }

        """#
}
