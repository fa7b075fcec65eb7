# SPDX-License-Identifier: MIT
"""
Very many files that a mirror did not make and only knows.  memory asks what each takes of the program, how many
descriptors it holds for all, what stays when they are forgotten; and how soon the listing of a directory
of so many begins.  scale asks what an operation costs in that directory, as large.py does.  The files are made in the
source, behind the program's back.

The subjects come one after the other, for so many files of all of them need not fit into memory.
"""

import os

from commands import measure
from groups.large import scale_steps
from results import Workload
from rounds import Step, take_step

PER_FILE = Workload("memory", "known file", "bytes", has_speed=False)
DESCRIPTORS = Workload("memory", "descriptors for all of them", "", has_speed=False)
LEFT = Workload("memory", "left of each when forgotten", "bytes", has_speed=False)
FIRST = Workload("memory", "first entries of a directory", "ms", has_speed=False, per="listing")


def run(bench, with_scale, with_memory):
    for subject in bench.subjects:
        if subject.why_not_large:
            bench.results.not_measured[f"{subject.name}, {bench.settings.files} files"] = subject.why_not_large
            continue
        with bench.mounted([subject]) as places:
            for place in places:
                bench.say(f"{subject.name}: {bench.settings.files} files")
                if with_memory:
                    bench.attempt("memory, known files", place, lambda place: learn_all(bench, place))
                bench.attempt("large directory", place, lambda place: work_on(bench, place, with_scale, with_memory))


def in_source(place, directory):
    """Where the source has what @directory shows."""
    mounted = place.mounted
    return os.path.join(mounted.storage.directory, os.path.relpath(directory, mounted.directory))


def behind(bench, place, operation, directory, files):
    """In the source, where there is one behind the mount, as that is fast and teaches the program nothing."""
    where = in_source(place, directory) if hasattr(place.mounted, "storage") else directory
    measure(bench, place.mounted, operation, [where], files)


def learn_all(bench, place):
    settings, mounted = bench.settings, place.mounted
    if mounted.memory_kib() is None:
        return
    # What comes with the first request of a kind is not to be counted.
    learn(bench, place, settings.entries)
    directories = max(settings.files // settings.entries, 1)
    each = settings.files // directories
    before_kib = mounted.memory_kib()
    for _ in range(directories):
        learn(bench, place, each)
    mounted.settle()
    known = directories * each
    bench.results.add(PER_FILE, place.subject, 0, (mounted.memory_kib() - before_kib) * 1024 / known)
    bench.results.add(DESCRIPTORS, place.subject, 0, mounted.descriptors())
    mounted.drop_names()
    bench.results.add(LEFT, place.subject, 0, (mounted.memory_kib() - before_kib) * 1024 / known)


def learn(bench, place, files):
    """A directory of so many, and `ls -l` of it."""
    directory = place.new_directory()
    behind(bench, place, "fill-nodes", directory, files)
    measure(bench, place.mounted, "list", [directory], files)


def work_on(bench, place, with_scale, with_memory):
    settings = bench.settings
    place.few, place.many = place.new_directory(), place.new_directory()
    behind(bench, place, "fill-nodes", place.few, settings.entries)
    behind(bench, place, "fill-nodes", place.many, settings.files)
    steps = [Step(FIRST, lambda place: first_entries(bench, place))] if with_memory else []
    steps += scale_steps(bench) if with_scale else []
    for number in range(settings.runs):
        for step in steps:
            take_step(bench, step, number, place)


def first_entries(bench, place):
    files = bench.settings.files
    microseconds, requests = measure(bench, place.mounted, "first", [place.many], files, is_cold=True)
    return microseconds / 1000, requests
