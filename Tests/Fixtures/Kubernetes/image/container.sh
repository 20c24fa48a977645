#!/usr/bin/env bash
# Runs a command as a container runtime would run it in a pod, with a root file system that has nothing but the files that are named.
# Needs root.
#
# usage: container.sh FOLDER USER FILES BIND... -- [NAME=VALUE...] COMMAND...
#
# FOLDER (empty) becomes the place of the root. FILES names the files of this machine that it gets, one a line. Each BIND is HOST=INSIDE: a
# file or folder of this machine that is seen there, read-only. USER is the number of the user, who has no name: there is no /etc/passwd.
#
# The root is read-only. Writable are /tmp, /run/dynamo-launch and /var/lib/dynamo-launch; shared memory has 64 KiB. The command is process 1
# of its PID namespace, without any capability. It shares the network with this machine.
set -euo pipefail
shopt -s inherit_errexit

if [ "${1:-}" != "--inside" ]; then
    exec unshare --mount --propagation private --pid --fork --kill-child --ipc --uts -- "$0" --inside "$@"
fi
shift
folder=$1 user=$2 files=$3
shift 3

root="$folder/root"
mkdir -p "$root"
mount -t tmpfs -o size=256m,mode=755 container-test "$root"
mkdir -p "$root"/{proc,dev/shm,tmp,run/dynamo-launch,var/lib/dynamo-launch,etc,usr/lib,usr/local/bin}
for link in bin sbin lib lib64; do mkdir -p "$root/usr/$link" && ln -s "usr/$link" "$root/$link"; done
while read -r file; do
    target="$root/${file#/}"
    mkdir -p "$(dirname "$target")"
    [ -e "$target" ] || cp -L "$file" "$target"
done <"$files"
while [ "$1" != "--" ]; do
    source=${1%%=*} target="$root${1#*=}"
    if [ -d "$source" ]; then
        mkdir -p "$target"
    else
        mkdir -p "$(dirname "$target")"
        : >"$target"
    fi
    mount --bind "$source" "$target"
    mount -o remount,bind,ro "$target"
    shift
done
shift
mount -t proc proc "$root/proc"
for device in null zero random urandom; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mount -t tmpfs -o size=64k,mode=1777 shm "$root/dev/shm"
for place in tmp run/dynamo-launch var/lib/dynamo-launch; do
    mount -t tmpfs -o size=64m,mode=1777 empty "$root/$place"
done
mount -o remount,ro "$root"

variables=()
while [[ "$1" =~ ^[A-Z_]+= ]]; do
    variables+=("$1")
    shift
done
# What is needed to change root and user goes with the change of user.
exec env -i PATH=/usr/local/bin:/usr/bin:/usr/sbin "${variables[@]}" \
    "$(command -v setpriv)" --no-new-privs --inh-caps=-all --bounding-set=-all,+sys_chroot,+setuid,+setgid \
    "$(command -v chroot)" --userspec="$user:$user" --groups= "$root" "$@"
