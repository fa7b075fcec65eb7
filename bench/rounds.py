# SPDX-License-Identifier: MIT
"""
Mounts the subjects, lets them take turns, and keeps the failure of one from the others.

In a round each step is done by one subject after the other, so that what else goes on on the machine
falls upon all of them alike, and each round begins with fresh mounts, so that none inherits anything.
"""

import contextlib
import os
import sys
import tempfile
import time

from commands import NotMeasured, NotSupported
from results import Failure, Results
from subjects import Failed


START = time.monotonic()


def elapsed_s():
    return time.monotonic() - START


class Place:
    """One mounted subject, and what a group keeps with it for the time of a round."""

    def __init__(self, mounted):
        self.mounted = mounted
        self.subject = mounted.subject
        self.directory = None
        self.is_out = False  # takes no further part in this round

    def new_directory(self):
        self.directory = tempfile.mkdtemp(prefix="bench-", dir=self.mounted.directory)
        return self.directory


class Bench:
    """What all groups share as they work on one comparison."""

    def __init__(self, settings, comparison, work):
        self.settings = settings
        self.subjects = comparison.subjects
        self.work = work
        self.ops = os.path.join(settings.llfuse_build, "bench", "ops")
        self.results = Results(comparison)
        self.seconds = {}  # by group

    def entries(self, subject):
        """How many files a directory holds: a slow one would take minutes to get so many."""
        most = self.settings.slow_entries if subject.is_slow else self.settings.entries
        return min(self.settings.entries, most)

    def file_mib(self, subject):
        most = self.settings.slow_file_mib if subject.has_small_file else self.settings.file_mib
        return min(self.settings.file_mib, most)

    def say(self, text):
        print(f"bench: {elapsed_s():4.0f} s: {self.results.comparison.name}: {text}", file=sys.stderr, flush=True)

    @contextlib.contextmanager
    def timed(self, group):
        begun = elapsed_s()
        yield
        self.seconds[group] = elapsed_s() - begun

    def fail(self, what, subject, error):
        text = str(error).strip().replace("\n", " ")
        if self.results.add_failure(Failure(subject, what, text)):
            self.say(f"{subject.name}: {what}: {text}")

    @contextlib.contextmanager
    def mounted(self, subjects, on_disk=False):
        """Gives a place for each that can be mounted, its files on a disk if they can and shall.  All are
        unmounted in the end, whatever happened."""
        places = []
        try:
            for subject in subjects:
                directory = tempfile.mkdtemp(prefix="mnt-", dir=self.work)
                try:
                    places.append(Place(subject.mount(directory, on_disk)))
                    self.note_command(places[-1].mounted)
                except (Failed, OSError) as error:
                    self.fail("mount", subject, error)
            yield places
            while places:
                self._close(places.pop())
        finally:
            for place in places:
                place.mounted.abandon()

    def note_command(self, mounted):
        if mounted.command:
            self.results.commands[mounted.subject.name] = mounted.command

    @contextlib.contextmanager
    def mounted_by_itself(self, subject):
        """Gives a mount that the caller closes; failures are the caller's too."""
        mounted = subject.mount(tempfile.mkdtemp(prefix="mnt-", dir=self.work))
        self.note_command(mounted)
        try:
            yield mounted
        finally:
            mounted.abandon()

    def _close(self, place):
        try:
            place.mounted.close()
        except (Failed, OSError) as error:
            self.fail("unmount", place.subject, error)
            place.mounted.abandon()

    def attempt(self, what, place, step):
        """Calls @step(place).  Returns whether it succeeded; a place whose mount died by it takes no further part."""
        if place.is_out:
            return False
        try:
            step(place)
            return True
        except (Failed, OSError) as error:
            self.fail(what, place.subject, error)
            place.is_out = not place.mounted.is_usable()
            return False


class Step:
    """Measures @workload once: @measure(place) returns the figure, and the requests or None."""

    def __init__(self, workload, measure):
        self.workload = workload
        self.measure = measure


def run_rounds(bench, group, steps, begin, begins_again=False, on_disk=False, subjects=None):
    """@begin(place) prepares a place, in each round before the first step; if it @begins_again, also after
    a step that failed and may have left anything.  Some of the @subjects take part, or all."""
    steps = [step for step in steps if step.workload.name not in bench.results.comparison.left_out]
    for number in range(bench.settings.runs):
        bench.say(f"{group}, round {number + 1} of {bench.settings.runs}")
        with bench.mounted(bench.subjects if subjects is None else subjects, on_disk) as places:
            for place in places:
                prepare(bench, group, place, begin)
            for step in steps:
                for place in places:
                    if not take_step(bench, step, number, place) and begins_again:
                        prepare(bench, group, place, begin)


def prepare(bench, group, place, begin):
    if not bench.attempt(f"{group}, preparation", place, begin):
        place.is_out = True


def take_step(bench, step, number, place):
    def measure_and_keep(place):
        try:
            figure, requests = step.measure(place)
        except NotSupported:
            bench.results.add_not_supported(step.workload, place.subject)
            return
        except NotMeasured as why:
            bench.results.not_measured[f"{place.subject.name}, {step.workload.group}, in part"] = str(why)
            return
        bench.results.add(step.workload, place.subject, number, figure, requests)

    return bench.attempt(f"{step.workload.group}, {step.workload.name}", place, measure_and_keep)
