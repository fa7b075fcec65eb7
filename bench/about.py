# SPDX-License-Identifier: MIT
"""What the figures depend on: the machine, the versions, the options."""

import os
import platform
import re
import subprocess
import time

from comparisons import PYTHON
from settings import TOP


def first_line(*command, about=""):
    """The first line that @command says, if one can be had @about something."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    except OSError:
        return "not there"
    lines = (done.stdout or done.stderr).strip().splitlines()
    return next((line for line in lines if about in line), lines[0] if lines else "unknown")


def found_in(path, pattern):
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            found = re.search(pattern, file.read(), re.MULTILINE)
    except OSError:
        return "unknown"
    return found[1].strip() if found else "unknown"


def machine():
    memory_kib = found_in("/proc/meminfo", r"^MemTotal:\s*(\d+)")
    memory = f"{int(memory_kib) / 2**20:.1f} GiB" if memory_kib.isdigit() else memory_kib
    return f"{found_in('/proc/cpuinfo', r'^model name.*: (.*)')}, {os.cpu_count()} CPUs, {memory}"


def project(program):
    commit = first_line("git", "-C", TOP, "describe", "--always", "--dirty", "--abbrev=12")
    return f"{first_line(program, '--version')}, {commit if re.fullmatch('[0-9a-f]{7,}.*', commit) else 'no commit'}"


def version(tool):
    told = " ".join(first_line(tool, "--version", about=tool).split()[:4])
    return told if tool in told.lower() else f"{tool} {told}"


def subjects(results):
    """How each was started."""
    comparison = results.comparison
    told = []
    for subject in comparison.subjects:
        command = results.commands.get(subject.name)
        told.append(f"{subject.name} (`{command}`)" if command else subject.name)
    return "; ".join(told + ([comparison.remark] if comparison.remark else []))


def load():
    """What else runs shows before; afterwards we are in it ourselves."""
    return " ".join(f"{average:.2f}" for average in os.getloadavg())


def describe(settings, comparisons):
    tools = ("fio", "git", "gcc", "tar", "sqlite3", "bindfs", "fuse-overlayfs")
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "machine": machine(),
        "kernel": f"{platform.release()} ({found_in('/etc/os-release', r'^PRETTY_NAME=.(.*).$')})",
        "project": project(os.path.join(settings.llfuse_build, comparisons[0].name)),
        "tools": ", ".join(version(name) for name in tools),
        "reference": first_line(PYTHON, "-c", "import llfuse; print('Python-LLFUSE', llfuse.__version__)"),
        "transport": settings.transport,
        "load before": load(),
        "settings": settings.as_dict(),
    }
