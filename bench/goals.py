# SPDX-License-Identifier: MIT
"""
What the project wants of its file systems.  A goal is for a group, some workloads of it (all if none
is named) @but_not others, and the subjects that @applies_to tells; it is a bound on the speed by the
measure of another subject, or on the figure itself.
"""


class Goal:
    def __init__(
        self, group, names, but_not=(), at_least=None, at_most=None, than=None, applies_to=lambda s: s.is_ours
    ):
        self.group = group
        self.names = names
        self.but_not = but_not
        self.at_least = at_least
        self.at_most = at_most
        self.than = than  # the other subject, or None: the figure itself
        self._applies_to = applies_to

    def is_for(self, workload, subject):
        return (
            workload.group == self.group
            and (not self.names or workload.name in self.names)
            and workload.name not in self.but_not
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
        return bound if self.than is None else f"{bound} {self.than}"


def passes_data_through(subject):
    return subject.passes_data_through


CHANGES_OF_NAMES = ("mkdir", "create", "rename", "link", "symlink", "unlink", "rmdir")

DATABASE = (
    "commit of small files, the time of the shell's",
    "commit of new data, the time of the shell's",
    "save, the time of tar's",
    "load, the time of untar's",
    "write 4k, the speed without a database",
    "write 128k, the speed without a database",
)

# By the name of the comparison.
GOALS = {
    "lltest": (),
    "tmpfs": (
        Goal("metadata", ("stat", "missing name", "ls -l, cold", "ls -l, again"), at_least=0.9, than="kernel"),
        Goal(
            "metadata",
            (*CHANGES_OF_NAMES, "open+read+close", "create+write+close"),
            at_least=0.25,
            than="kernel",
        ),
        Goal("metadata", (), at_least=2, than="memfs_ll"),
        Goal("data", (), at_least=0.9, than="kernel", applies_to=passes_data_through),
        Goal("tools", ("untar",), at_least=0.5, than="kernel"),
        Goal("tools", ("make",), at_least=0.95, than="kernel"),
        Goal("tools", ("git status",), at_least=0.8, than="kernel"),
        Goal("tools", ("rm -rf",), at_least=0.25, than="kernel"),
        Goal("database", tuple(one for one in DATABASE if one.startswith(("commit", "save"))), at_most=1.5),
        Goal("database", tuple(one for one in DATABASE if one.startswith("load")), at_most=0.7),
        Goal("database", tuple(one for one in DATABASE if one.startswith("write")), at_least=0.7),
        Goal("parallel", ("create by two", "unlink by two", "stat by two"), at_least=1.6),
        Goal(
            "scale",
            tuple(f"{operation}, 1000000 to 10000" for operation in ("create", "stat, cold", "unlink")),
            at_most=1.25,
        ),
    ),
    "passthroughfs": (
        Goal("metadata", ("stat", "missing name", "ls -l, again"), at_least=0.9, than="source"),
        Goal("metadata", (*CHANGES_OF_NAMES, "open+read+close"), at_least=0.2, than="source"),
        Goal(
            "metadata",
            ("stat", "missing name", "ls -l, again", *CHANGES_OF_NAMES, "open+read+close"),
            at_least=1.5,
            than="passthrough_hp",
        ),
        Goal("data", (), at_least=0.9, than="source"),
        Goal("data", ("write 4k", "overwrite 4k, random"), at_least=5, than="passthrough_hp"),
        Goal("data", (), but_not=("write 4k", "overwrite 4k, random"), at_least=1, than="passthrough_hp"),
        Goal("tools", ("find", "git status"), at_least=0.8, than="source"),
        Goal("tools", ("untar",), at_least=0.5, than="source"),
        Goal("tools", ("make",), at_least=0.95, than="source"),
        Goal("tools", ("find", "git status", "untar"), at_least=1.2, than="passthrough_hp"),
        Goal("tools", ("make",), at_least=1, than="passthrough_hp"),
        Goal("memory", ("known file",), at_most=250),
        Goal("memory", ("descriptors for all of them",), at_most=300),
        Goal("scale", ("first entries of 1000000",), at_most=50),
    ),
}


def goals_for(comparison, workload, subject):
    return [goal for goal in GOALS[comparison.name] if goal.is_for(workload, subject)]
