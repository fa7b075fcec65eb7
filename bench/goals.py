# SPDX-License-Identifier: MIT
"""
What the project wants of its file systems.  A goal is for a group, some workloads of it (all if none
is named), and the subjects that @applies_to tells; it is a bound on the speed by the measure of
another subject, or on the figure itself.
"""

from results import REFERENCE


class Goal:
    def __init__(self, group, names, at_least=None, at_most=None, than=None, applies_to=lambda s: s.is_ours):
        self.group = group
        self.names = names
        self.at_least = at_least
        self.at_most = at_most
        self.than = than  # the other subject, or None: the figure itself
        self._applies_to = applies_to

    def is_for(self, workload, subject):
        return (
            workload.group == self.group
            and (not self.names or workload.name in self.names)
            and self._applies_to(subject)
        )

    def spread(self, results, workload, subject):
        """What the bound is compared with; None where it was not measured."""
        if self.than is None:
            return results.figure(workload, subject)
        return results.speed(workload, subject, self.than)

    def is_met(self, spread):
        return spread.median >= self.at_least if self.at_least is not None else spread.median <= self.at_most

    def __str__(self):
        bound = f">= {self.at_least:g}" if self.at_least is not None else f"<= {self.at_most:g}"
        return bound if self.than in (None, REFERENCE) else f"{bound} {self.than}"


def passes_data_through(subject):
    return subject.passes_data_through


GOALS = (
    Goal("metadata", ("stat", "missing name", "ls -l, cold", "ls -l, again"), at_least=0.9, than=REFERENCE),
    Goal(
        "metadata",
        ("mkdir", "create", "rename", "link", "symlink", "unlink", "rmdir", "open+read+close", "create+write+close"),
        at_least=0.25,
        than=REFERENCE,
    ),
    Goal("metadata", (), at_least=2, than="memfs_ll"),
    Goal("data", (), at_least=0.9, than=REFERENCE, applies_to=passes_data_through),
    Goal("tools", ("untar",), at_least=0.5, than=REFERENCE),
    Goal("tools", ("make",), at_least=0.95, than=REFERENCE),
    Goal("tools", ("git status",), at_least=0.8, than=REFERENCE),
    Goal("tools", ("rm -rf",), at_least=0.25, than=REFERENCE),
    Goal("scale", ("create by two", "unlink by two", "stat by two"), at_least=1.6),
    Goal("scale", ("create, many to few", "lookup, many to few", "unlink, many to few"), at_most=1.25),
)


def goals_for(workload, subject):
    return [goal for goal in GOALS if goal.is_for(workload, subject)]
