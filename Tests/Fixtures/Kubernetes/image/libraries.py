#!/usr/bin/env python3
"""Which shared libraries programs need, and which Debian packages those come from.

usage: libraries.py packages PROGRAM...      the packages of the libraries that the programs name themselves, one a line
       libraries.py files PACKAGE...         every library, program and link of the packages and of all that they depend on

Libraries of the Swift runtime are left out: images have them inside the programs.
"""

import os
import re
import subprocess
import sys


def run(*command):
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def named(program):
    return set(re.findall(r"\(NEEDED\)\s+Shared library: \[(.+?)\]", run("readelf", "-d", program)))


def places(program):
    found = {}
    for line in run("ldd", program).splitlines():
        match = re.match(r"\s*(\S+) => (/\S+)", line)
        if match:
            found[match[1]] = match[2]
        elif "not found" in line:
            sys.exit(f"{program}: {line.strip()}")
    return found


def package(path):
    # Directories that are links (/lib) are not what dpkg has recorded.
    for candidate in (path, os.path.realpath(path), path.removeprefix("/usr")):
        answer = subprocess.run(["dpkg", "-S", candidate], capture_output=True, text=True)
        if answer.returncode == 0:
            return answer.stdout.split(":")[0]
    sys.exit(f"no package has {path}")


def packages(programs):
    found = set()
    for program in programs:
        where = places(program)
        for library in named(program):
            path = where.get(library)
            if path is None:  # the loader itself, which belongs to the C library
                continue
            if "/swift/" not in path:
                found.add(package(path))
    return found


def dependencies(names):
    """Everything that is installed because of these, they too."""
    seen, open_ = set(), list(names)
    while open_:
        name = open_.pop().split(":")[0]
        if name in seen:
            continue
        status = subprocess.run(
            ["dpkg-query", "-W", "-f", "${db:Status-Status}|${Depends}, ${Pre-Depends}", name], capture_output=True, text=True
        ).stdout
        if not status.startswith("installed"):
            if name in names:
                sys.exit(f"{name} is not installed here")
            continue
        seen.add(name)
        for group in status.split("|", 1)[1].replace(" ", "").split(","):
            open_ += [re.sub(r"\(.*", "", word) for word in group.split("|") if word]
    return seen


def files(names):
    wanted = set()
    for name in dependencies(names):
        for path in run("dpkg", "-L", name).splitlines():
            is_program = path.startswith(("/usr/sbin/nats", "/usr/bin/nats"))
            if "/gconv/" not in path and (".so" in os.path.basename(path) or is_program) and os.path.isfile(path):
                wanted.add(path)
    return wanted


if __name__ == "__main__":
    answer = {"packages": packages, "files": files}[sys.argv[1]](sys.argv[2:])
    print("\n".join(sorted(answer)))
