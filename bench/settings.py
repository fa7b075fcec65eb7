# SPDX-License-Identifier: MIT
"""What can be chosen, from the environment: one table drives parsing and `bench/run --help`."""

import os

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GROUPS = ("metadata", "parallel", "data", "tools", "transport", "startup", "scale", "memory", "database")
# Of each of our file systems, what there is something to be said about.
FILE_SYSTEMS = {
    "lltest": ("transport", "startup"),
    "tmpfs": ("metadata", "parallel", "data", "tools", "startup", "scale", "memory", "database"),
    "passthroughfs": ("metadata", "parallel", "data", "tools", "startup", "scale", "memory"),
}
TRANSPORTS = ("io_uring", "dev_fuse")


class Refused(Exception):
    """Its text is the one line that the user sees."""


class Only:
    """The file systems and the groups that were asked for, all of a kind of which none was named."""

    def __init__(self, text):
        names = text.replace(",", " ").split()
        known = (*FILE_SYSTEMS, *GROUPS)
        if not set(names) <= set(known):
            raise ValueError(f"there are {', '.join(known)}")
        self.fs = [name for name in FILE_SYSTEMS if name in names] or list(FILE_SYSTEMS)
        self.groups = [name for name in GROUPS if name in names] or list(GROUPS)
        if not any(map(self.groups_of, self.fs)):
            raise ValueError(f"of {', '.join(self.fs)} there are {', '.join(FILE_SYSTEMS[self.fs[0]])}")

    def groups_of(self, name):
        """Of the file system @name."""
        return [group for group in self.groups if group in FILE_SYSTEMS[name]]

    def __contains__(self, group):
        """Whether anything of the @group is measured."""
        return any(group in self.groups_of(name) for name in self.fs)

    def __str__(self):
        return ",".join([*self.fs, *self.groups])


def _transport(text):
    if text not in TRANSPORTS:
        raise ValueError(f"the transports are {', '.join(TRANSPORTS)}")
    return text


def _path(text):
    return os.path.join(TOP, text)


def _file_or_none(text):
    if text and not os.path.isfile(text):
        raise ValueError("no such file")
    return text


def _yes_or_no(text):
    if text not in ("yes", "no"):
        raise ValueError("yes or no")
    return text == "yes"


def _directory(text):
    if not os.access(text, os.W_OK | os.X_OK):
        raise ValueError("not a directory to write in")
    return os.path.realpath(text)


def _count(least, most):
    def parse(text):
        if not text.isascii() or not text.isdigit() or not least <= int(text) <= most:
            raise ValueError(f"not a number from {least} to {most}")
        return int(text)

    return parse


# Name, how to read it, default as written, meaning.
TABLE = (
    ("ONLY", Only, "", f"some of {', '.join(FILE_SYSTEMS)}; {', '.join(GROUPS)}"),
    ("FULL", _yes_or_no, "no", "all workloads of data, larger databases and listings, which takes hours"),
    ("RUNS", _count(1, 1000), "5", "rounds; each subject takes its turn in each"),
    ("TRANSPORT", _transport, "io_uring", "how requests reach the file systems in user space"),
    ("ENTRIES", _count(10, 1000000), "10000", "files in the directory that metadata operations work in"),
    ("OPS", _count(10, 1000000), "2000", "operations timed at once, or as many as LIMIT_MS allow"),
    ("LIMIT_MS", _count(1, 100000), "30", "how long operations and fio go on"),
    ("FILE_MIB", _count(1, 65536), "64", "size of the file that fio reads and writes"),
    ("TREE_FILES", _count(1, 1000000), "700", "at least so many files in the source tree"),
    ("FILES", _count(10, 10000000), "1000000", "files in the largest directory of scale"),
    ("MEMORY_FILES", _count(10, 10000000), "50000", "files of memory; peers have no more than ENTRIES"),
    ("SLOW_ENTRIES", _count(10, 1000000), "300", "as ENTRIES, for peers that take minutes with so many"),
    ("SLOW_FILE_MIB", _count(1, 65536), "2", "as FILE_MIB, for the same"),
    ("DISK", _directory, "/var/tmp", "directory on a disk, where passthroughfs has its source for the tools"),
    ("REFERENCE", str, "", "directory of the reference's programs in Python, if not where Debian has them"),
    ("BASELINE", _file_or_none, "", "a saved latest.json: exit status 1 if something of ours got slower"),
    ("LLFUSE_BUILD", _path, "build-bench", "where the programs are"),
    ("RESULTS", _path, "bench/results", "where latest.json, latest.md and the charts go"),
)


class Settings:
    """One attribute for each line of the table, in lower case."""

    def __init__(self, environment):
        for name, parse, default, _ in TABLE:
            text = environment.get(name) or default
            try:
                value = parse(text)
            except ValueError as error:
                raise Refused(f"{name}={text}: {error}") from error
            setattr(self, name.lower(), value)
        self.given = {name: environment[name] for name, *_ in TABLE if environment.get(name)}

    def as_dict(self):
        values = {name: getattr(self, name.lower()) for name, *_ in TABLE}
        return {**values, "ONLY": str(self.only)}


def help_text():
    lines = [f"  {name:<12} {meaning}{f' ({default})' if default else ''}" for name, _, default, meaning in TABLE]
    return "usage: [NAME=VALUE ...] bench/run\n" + "\n".join(lines)
