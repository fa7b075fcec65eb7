# SPDX-License-Identifier: MIT
"""
What was measured, and what follows from it.  A figure is the median of its rounds with the least and
the greatest.  A ratio is taken in each round, with the figure of the same round, and is a ratio of
speeds: 2 is twice as fast, in whatever unit.
"""

import re
import statistics


class Workload:
    """One line of the tables: @unit is that of the figure, @has_speed tells whether the figure is one
    whose ratio to other subjects' means something, @per what requests are counted for."""

    def __init__(self, group, name, unit, is_rate=False, has_speed=True, per="operation"):
        self.group = group
        self.name = name
        self.unit = unit
        self.is_rate = is_rate
        self.has_speed = has_speed
        self.per = per


class Spread:
    """The median of some numbers, and how far they reach."""

    def __init__(self, numbers):
        self.numbers = list(numbers)
        self.median = statistics.median(self.numbers)
        self.least = min(self.numbers)
        self.most = max(self.numbers)

    def covers(self, number):
        return self.least <= number <= self.most

    def as_dict(self):
        return {"median": self.median, "min": self.least, "max": self.most, "samples": self.numbers}


class Failure:
    """@what failed on @subject; a peer's well-known trouble is told, but is none of ours."""

    def __init__(self, subject, what, text):
        self.subject = subject.name
        self.what = what
        self.text = text
        self.is_known = any(re.fullmatch(pattern, what) for pattern in subject.known_failures)

    def key(self):
        return self.subject, self.what, self.text

    def __str__(self):
        return f"{self.subject}: {self.what}: {self.text}{' (known)' if self.is_known else ''}"


class Results:
    """Those of one comparison."""

    def __init__(self, comparison):
        self.comparison = comparison
        self.workloads = []  # in the order in which they first came
        self.subjects = []
        self.failures = []
        self.not_measured = {}  # why, by what
        self.commands = {}  # how a subject was started, by its name
        self.not_supported = set()
        self._figures = {}
        self._requests = {}

    def add(self, workload, subject, round_number, figure, requests=None):
        self._know(workload, subject)
        self._figures.setdefault((workload, subject), {})[round_number] = figure
        if requests is not None:
            self._requests.setdefault((workload, subject), []).append(requests)

    def add_not_supported(self, workload, subject):
        self._know(workload, subject)
        self.not_supported.add((workload, subject))

    def add_failure(self, failure):
        """Kept once, however many rounds it happens in.  Returns whether it is new."""
        if failure.key() in [other.key() for other in self.failures]:
            return False
        self.failures.append(failure)
        return True

    def _know(self, workload, subject):
        if workload not in self.workloads:
            self.workloads.append(workload)
        if subject not in self.subjects:
            self.subjects.append(subject)

    def figure(self, workload, subject):
        """A Spread, or None if there is nothing."""
        rounds = self._figures.get((workload, subject))
        return Spread(rounds.values()) if rounds else None

    def speed(self, workload, subject, other_name):
        """How fast @subject is by the measure of another, as a Spread, or None."""
        other = next((s for s in self.subjects if s.name == other_name), None)
        mine = self._figures.get((workload, subject), {})
        theirs = self._figures.get((workload, other), {})
        if not workload.has_speed or subject is other:
            return None
        ratios = [
            mine[i] / theirs[i] if workload.is_rate else theirs[i] / mine[i]
            for i in sorted(mine.keys() & theirs.keys())
            if mine[i] and theirs[i]
        ]
        return Spread(ratios) if ratios else None

    def requests(self, workload, subject):
        """The median number of requests of each type; None where nobody counts."""
        rounds = self._requests.get((workload, subject))
        if rounds is None:
            return None
        names = sorted({name for counts in rounds for name in counts})
        return {name: statistics.median(counts.get(name, 0) for counts in rounds) for name in names}
