"""Becomes a container's process: enters the pod's network, gets a view of the files of its own, and runs the command.

usage: container.py SPECIFICATION.json
       container.py pause            (keeps a network namespace until it is killed)

Everything of the machine is seen, and what is mounted comes on top; nothing of the machine is changed.
"""

import ctypes
import json
import os
import signal
import sys

libc = ctypes.CDLL(None, use_errno=True)
NEWNS, NEWNET = 0x00020000, 0x40000000
BIND, REC, PRIVATE, REMOUNT, READONLY = 0x1000, 0x4000, 0x40000, 0x20, 0x1


def call(name, *arguments):
    if getattr(libc, name)(*arguments) != 0:
        error = ctypes.get_errno()
        raise OSError(error, f"{name}{arguments[:3]}: {os.strerror(error)}")


def mount(source, target, kind, flags):
    text = [value.encode() if value is not None else None for value in (source, target, kind)]
    call("mount", text[0], text[1], text[2], flags, None)


def mimic(source, target):
    """Fills an empty folder with everything that another one has, so that more can be put beside it."""
    for name in os.listdir(source):
        old, new = os.path.join(source, name), os.path.join(target, name)
        if os.path.islink(old):
            os.symlink(os.readlink(old), new)
        elif os.path.isdir(old):
            os.mkdir(new)
            mount(old, new, None, BIND | REC)
        else:
            os.close(os.open(new, os.O_CREAT, 0o644))
            try:
                mount(old, new, None, BIND)
            except OSError:
                os.unlink(new)  # A socket that is gone, for example.


def place(root, path, is_file, made):
    """Makes sure that there is something to mount on at a path below the new root."""
    current = root
    parts = path.strip("/").split("/")
    for index, part in enumerate(parts):
        following = os.path.join(current, part)
        last = index == len(parts) - 1
        if not os.path.exists(following):
            if current not in made:
                # Beside what is there, in memory.
                copy = os.path.join(root, f".mimic{len(made)}")
                os.mkdir(copy)
                mount("tmpfs", copy, "tmpfs", 0)
                mimic(current, copy)
                mount(copy, current, None, BIND | REC)
                made.add(current)
            if last and is_file:
                os.close(os.open(following, os.O_CREAT, 0o644))
            else:
                os.mkdir(following)
                made.add(following)
        while os.path.islink(following):
            following = os.path.join(root if os.readlink(following).startswith("/") else current, os.readlink(following).lstrip("/"))
        current = following
    return current


def main():
    if sys.argv[1] == "pause":
        call("unshare", NEWNET)
        print("ready", flush=True)
        signal.pause()
        return
    with open(sys.argv[1]) as file:
        spec = json.load(file)
    with open(f"/proc/{spec['network']}/ns/net") as namespace:
        call("setns", namespace.fileno(), NEWNET)
    call("unshare", NEWNS)
    mount(None, "/", None, REC | PRIVATE)
    root = spec["root"]
    mount("tmpfs", root, "tmpfs", 0)
    mimic("/", root)
    made = {root}
    for volume in spec["mounts"]:
        where = place(root, volume["path"], os.path.isfile(volume["source"]), made)
        mount(volume["source"], where, None, BIND | REC)
        if volume["readOnly"]:
            mount(None, where, None, BIND | REMOUNT | READONLY)
    if spec["readOnly"]:
        mounted = {volume["path"].rstrip("/") for volume in spec["mounts"]}
        for name in os.listdir(root):
            path = os.path.join(root, name)
            if name not in ("proc", "dev", "sys") and "/" + name not in mounted and os.path.isdir(path) and not os.path.islink(path):
                mount(None, path, None, BIND | REMOUNT | READONLY)
        mount(None, root, None, REMOUNT | READONLY)
    os.chroot(root)
    os.chdir(spec["directory"] or "/")
    command, environment = spec["command"], spec["environment"]
    program = command[0]
    if "/" in program and not os.path.exists(program):
        program = os.path.basename(program)
    try:
        os.execvpe(program, command, environment)
    except OSError as error:
        print(f"{command[0]}: {error.strerror}", flush=True)
        os._exit(127)


main()
