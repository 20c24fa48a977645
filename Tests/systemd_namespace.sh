#!/usr/bin/env bash
# Boots a real systemd as process 1 of namespaces of its own, for the tests, and ends when it ends. Needs root.
#
# usage: systemd_namespace.sh FOLDER [PATH...]
#
# FOLDER (empty, outside /tmp) becomes the place of everything: a tmpfs with an overlay of / on it, so that nothing the inside
# writes reaches the host. systemd is the only child of this process; commands run with it through
#     nsenter --target PID --mount --pid --cgroup --ipc --uts COMMAND
# Each PATH of the host, which may be a mount of its own that an overlay does not show, is bound to the same place, read-only.
#
# systemd empties /tmp, /run and /var/tmp when it starts: it gets fresh ones, and must never see the host's.
set -euo pipefail
shopt -s inherit_errexit

if [ "${1:-}" != "--inside" ]; then
    folder=$1
    mkdir -p "$folder"
    # The memory of this machine's file systems ends with the mount namespace.
    exec unshare --mount --propagation private --pid --fork --kill-child --cgroup --ipc --uts -- "$0" --inside "$@"
fi
shift
folder=$1
shift

place="$folder/place"
mkdir -p "$place"
mount -t tmpfs -o size=512m systemd-test "$place"
mkdir -p "$place/upper" "$place/work" "$place/root"
mount -t overlay -o "lowerdir=/,upperdir=$place/upper,workdir=$place/work" overlay "$place/root"
root="$place/root"
for path in "$@"; do
    mkdir -p "$root$path"
    mount --bind "$path" "$root$path"
    mount -o remount,bind,ro "$root$path"
done
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
for path in run tmp var/tmp; do
    mkdir -p "$root/$path"
    mount -t tmpfs -o mode=1777 fresh "$root/$path"
done
chmod 755 "$root/run"
mount -t proc proc "$root/proc"
# Nothing of the machine is started, only the journal, the bus, and what a test asks for: what sets up a machine would set up
# the host's, whose kernel this is.
units="$root/etc/systemd/system"
mkdir -p "$units" "$root/etc/systemd/system.conf.d" "$root/etc/systemd/journald.conf.d"
for target in sysinit local-fs sockets basic timers; do
    for wanted in "$root/lib/systemd/system/$target.target.wants"/* "$units/$target.target.wants"/*; do
        name=$(basename "$wanted")
        case "$name" in
        systemd-journald.service | systemd-journald.socket | dbus.socket | '*') ;;
        *) ln -sf /dev/null "$units/$name" ;;
        esac
    done
done
cat >"$units/tests.target" <<'UNIT'
[Unit]
Description=Target of the tests
Requires=systemd-journald.socket dbus.socket
After=systemd-journald.socket dbus.socket
UNIT
cat >"$root/etc/systemd/system.conf.d/tests.conf" <<'CONF'
[Manager]
LogTarget=journal
ShowStatus=no
DefaultTimeoutStopSec=5s
CONF
cat >"$root/etc/systemd/journald.conf.d/tests.conf" <<'CONF'
[Journal]
Storage=volatile
RateLimitIntervalSec=0
CONF
mkdir -p "$root/old"
cd "$root"
pivot_root . old
umount -l /old
# As systemd does at a real start: what it mounts for a service (credentials) must come to be seen here.
mount --make-rshared /
exec env -i PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin container=dynamo-launch-tests LANG=C.UTF-8 \
    /lib/systemd/systemd --system --unit=tests.target
