# SPDX-License-Identifier: MIT
"""What can be chosen, from the environment: one table drives parsing and `bench/run --help`."""

import os

TOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
GROUPS = ("metadata", "data", "tools", "scale", "memory", "database")
FILE_SYSTEMS = ("tmpfs", "passthroughfs")
TRANSPORTS = ("io_uring", "dev_fuse")


class Refused(Exception):
    """Its text is the one line that the user sees."""


def _some_of(choices, what):
    def parse(text):
        names = text.replace(",", " ").split()
        if not names or not set(names) <= set(choices):
            raise ValueError(f"the {what} are {', '.join(choices)}")
        return tuple(name for name in choices if name in names)

    return parse


def _transport(text):
    if text not in TRANSPORTS:
        raise ValueError(f"the transports are {', '.join(TRANSPORTS)}")
    return text


def _path(text):
    return os.path.join(TOP, text)


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
    ("FS", _some_of(FILE_SYSTEMS, "file systems"), ",".join(FILE_SYSTEMS), "which of ours to compare with others"),
    ("ONLY", _some_of(GROUPS, "groups"), ",".join(GROUPS), "groups of workloads to run"),
    ("RUNS", _count(1, 1000), "3", "rounds; each subject takes its turn in each"),
    ("TRANSPORT", _transport, "io_uring", "how requests reach the file systems in user space"),
    ("ENTRIES", _count(10, 1000000), "10000", "files in the directory that metadata operations work in"),
    ("OPS", _count(10, 1000000), "3000", "operations timed at once"),
    ("FILE_MIB", _count(1, 65536), "256", "size of the file that fio reads and writes"),
    ("TREE_FILES", _count(1, 1000000), "3000", "at least so many files in the source tree"),
    ("FILES", _count(10, 10000000), "1000000", "files of scale and memory, which are about very many"),
    ("DISK", _directory, "/var/tmp", "directory on a disk, where passthroughfs has its source for the tools"),
    ("LLFUSE_BUILD", _path, "build-bench", "where the programs are"),
    ("RESULTS", _path, "bench/results", "where latest.json and latest.md go"),
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
        return {**values, "FS": ",".join(self.fs), "ONLY": ",".join(self.only)}


def help_text():
    lines = [f"  {name:<12} {meaning} ({default})" for name, _, default, meaning in TABLE]
    return "usage: [NAME=VALUE ...] bench/run\n" + "\n".join(lines)
