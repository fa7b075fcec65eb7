# SPDX-License-Identifier: MIT
"""
What each of many files takes of the program's memory, and what stays when they are gone.  Of a file system in memory they
are its own: empty ones.  A mirror did not make them and only knows them: they are made in its source, and `ls -l` makes
them known until the kernel forgets them; here it counts, too, how many descriptors they take.

Peers have fewer files: for some of them a file takes a descriptor, or longer the more there are.
"""

from commands import measure
from groups.scale import fill
from results import Workload
from rounds import Step, run_rounds

NAME_LENGTH = 11  # as in ops.c
PER_DIRECTORY = 2000
WARM_PART = 50  # of the files: what they leave behind is used again

PER_FILE = Workload("memory", "empty file", "bytes")
PER_FILE_NAMELESS = Workload("memory", "empty file, less its name", "bytes")
PER_KNOWN_FILE = Workload("memory", "known file", "bytes")
DESCRIPTORS = Workload("memory", "descriptors for all of them", "", has_speed=False)
LEFT = Workload("memory", "left of it after removal", "bytes", has_speed=False)
LEFT_WHEN_FORGOTTEN = Workload("memory", "left of each when forgotten", "bytes", has_speed=False)


def run(bench):
    subjects = [subject for subject in bench.subjects if subject.is_program and takes_part(bench, subject)]
    is_mirror = bench.results.comparison.reference == "source"
    steps = steps_of_mirror(bench) if is_mirror else steps_of_maker(bench)
    run_rounds(bench, "memory", steps, lambda place: warm_up(bench, place, is_mirror), subjects=subjects)


def takes_part(bench, subject):
    why_not = subject.why_no_names
    if subject.is_slow:
        why_not = "to make so many files that it shows would take minutes"
    if why_not:
        bench.results.not_measured[f"{subject.name}, memory"] = why_not
    return not why_not


def files_of(bench, subject):
    settings = bench.settings
    if subject.is_ours:
        return settings.memory_files
    return min(settings.memory_files, settings.entries)


def warm_up(bench, place, is_mirror):
    """What comes with the first request of a kind is not to be counted."""
    files = max(files_of(bench, place.subject) // WARM_PART, 1)
    if is_mirror:
        learn(bench, place, files)
    else:
        directory = place.new_directory()
        fill(bench, place, directory, files)
        change(bench, place, "empty", directory, files)
    place.before_kib = place.mounted.memory_kib()


def grown_bytes(bench, place):
    """For each file, since the beginning."""
    place.mounted.settle()
    return (place.mounted.memory_kib() - place.before_kib) * 1024 / files_of(bench, place.subject)


def parts(files):
    """Directories, so that no file system has to look for a name among very many."""
    whole, rest = divmod(files, PER_DIRECTORY)
    return [PER_DIRECTORY] * whole + ([rest] if rest else [])


def change(bench, place, operation, directory, files):
    measure(bench, place.mounted, operation, [directory], files)


def steps_of_maker(bench):
    def make(place):
        place.directories = []
        for files in parts(files_of(bench, place.subject)):
            place.directories.append((place.new_directory(), files))
            fill(bench, place, *place.directories[-1])
        place.per_file = grown_bytes(bench, place)
        return place.per_file, None

    def nameless(place):
        return place.per_file - NAME_LENGTH, None

    def remove(place):
        for directory, files in place.directories:
            change(bench, place, "empty", directory, files)
        return grown_bytes(bench, place), None

    return [Step(PER_FILE, make), Step(PER_FILE_NAMELESS, nameless), Step(LEFT, remove)]


def learn(bench, place, files):
    """A directory of so many, and `ls -l` of it."""
    directory = place.new_directory()
    fill(bench, place, directory, files)
    change(bench, place, "list", directory, files)


def steps_of_mirror(bench):
    def learn_all(place):
        for files in parts(files_of(bench, place.subject)):
            learn(bench, place, files)
        return grown_bytes(bench, place), None

    def descriptors(place):
        return place.mounted.descriptors(), None

    def forget(place):
        place.mounted.drop_names()
        return grown_bytes(bench, place), None

    return [Step(PER_KNOWN_FILE, learn_all), Step(DESCRIPTORS, descriptors), Step(LEFT_WHEN_FORGOTTEN, forget)]
