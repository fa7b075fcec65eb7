# SPDX-License-Identifier: MIT
"""
What an operation costs in a directory of very many files, against the same in directories of fewer on the same mount.

All subjects are mounted at once, and stay so for all rounds, as it takes long to fill such a directory.  That of a mirror
is filled in its source, behind its back: it is to know no more than what it is asked for.
"""

import os

from commands import NotMeasured, NotSupported, measure
from groups import metadata
from results import Workload
from rounds import Step, take_step

# They are made, and what is left of them removed, which the clock does not see and the whole run does.
NEED_FILES = ("rename", "unlink", "rmdir", "read", "read-again")
STEPS_BETWEEN = 10  # how many times as many files the next directory has
KIB_PER_FILE = 1.2  # of the kernel's memory, for an inode of its tmpfs and what it knows of the name


def operations(settings):
    """All of metadata; but a whole listing of a million entries takes seconds, and is left to FULL=yes: first_entries()
    says how soon it begins.  Last, as who keeps a descriptor of each file has none for anything else then."""
    listings = [row for row in metadata.OPERATIONS if row[0].startswith("ls -l")]
    others = [row for row in metadata.OPERATIONS if row not in listings]
    return others + (listings if settings.full else [])


def run(bench):
    subjects = [subject for subject in bench.subjects if takes_part(bench, subject)]
    needed_kib = len(subjects) * sum(sizes(bench)) * KIB_PER_FILE
    if needed_kib > available_kib():
        bench.results.not_measured[f"{bench.results.comparison.name}, scale"] = (
            f"it takes {needed_kib / 1024 / 1024:.1f} GiB of memory; FILES= has it with fewer files"
        )
        return
    steps = first_entries(bench) + [step for row in operations(bench.settings) for step in steps_of(bench, *row)]
    with bench.mounted(subjects) as places:
        for place in places:
            bench.say(f"scale: {place.subject.name}: {sum(sizes(bench))} files")
            place.is_out = not bench.attempt("scale, preparation", place, lambda place: fill_all(bench, place))
        for number in range(bench.settings.runs):
            bench.say(f"scale, round {number + 1} of {bench.settings.runs}")
            for step in steps:
                for place in places:
                    take_step(bench, step, number, place)


def takes_part(bench, subject):
    if subject.why_not_large:
        bench.results.not_measured[f"{subject.name}, {bench.settings.files} files"] = subject.why_not_large
    return not subject.why_not_large


def available_kib():
    with open("/proc/meminfo", encoding="ascii") as file:
        fields = dict(line.split(":") for line in file)
    return int(fields["MemAvailable"].split()[0])


def sizes(bench):
    """From as many as the other groups have to as many as there are to be, each some times the one before."""
    settings = bench.settings
    between = []
    files = settings.entries * STEPS_BETWEEN
    while files * STEPS_BETWEEN <= settings.files:
        between.append(files)
        files *= STEPS_BETWEEN
    return [settings.entries, *between, settings.files]


def in_storage(place, directory):
    """Where the source has what @directory of a mirror shows; of others it is the same."""
    mounted = place.mounted
    if not hasattr(mounted, "storage"):
        return directory
    return os.path.join(mounted.storage.directory, os.path.relpath(directory, mounted.directory))


def fill(bench, place, directory, files):
    # fuse-overlayfs has its own idea of where that is.
    where = in_storage(place, directory)
    directories = [where if os.path.isdir(where) else directory]
    try:
        measure(bench, place.mounted, "fill-nodes", directories, files)
    except NotSupported:
        measure(bench, place.mounted, "fill", directories, files)


def fill_all(bench, place):
    place.directories = {}
    for files in sizes(bench):
        place.directories[files] = place.new_directory()
        fill(bench, place, place.directories[files], files)
    place.mounted.settle()


def steps_of(bench, title, operation, is_cold):
    """Among each number of files, one straight after the other, and how they compare."""
    settings = bench.settings
    seen = {}  # microseconds, by subject and number of files

    def among(files):
        def measure_one(place):
            seen.pop((place.subject, files), None)
            limit_ms = max(settings.limit_ms // 2, 1)
            count = min(settings.ops, files)
            if operation in NEED_FILES:
                count = max(count // 4, 1)
            directories = [place.directories[files]]
            seen[place.subject, files], requests = measure(
                bench, place.mounted, operation, directories, files, count, limit_ms, is_cold
            )
            return seen[place.subject, files], requests

        return Step(Workload("scale", f"{title} among {files}", "µs"), measure_one)

    def compare(files):
        def to_few(place):
            if any((place.subject, n) not in seen for n in (files, settings.entries)):
                raise NotMeasured("what failed compares with nothing")
            return seen[place.subject, files] / seen[place.subject, settings.entries], None

        name = f"{title}, {files} to {settings.entries}"
        return Step(Workload("scale", name, "times", has_speed=False), to_few)

    few, *more = sizes(bench)
    return [among(few), *(step for files in more for step in (among(files), compare(files)))]


def first_entries(bench):
    """How soon a listing begins."""

    def of(files):
        def measure_one(place):
            microseconds, requests = measure(
                bench, place.mounted, "first", [place.directories[files]], files, is_cold=True
            )
            return microseconds / 1000, requests

        return Step(Workload("scale", f"first entries of {files}", "ms", per="listing"), measure_one)

    return [of(files) for files in sizes(bench)]
