# SPDX-License-Identifier: MIT
"""What people do all day: a source tree unpacked, built, searched, looked at by git, and removed."""

import io
import math
import os
import re
import shlex
import tarfile
import tempfile

from commands import Counted, run as run_command
from results import Workload
from rounds import Step, run_rounds
from settings import TOP
from subjects import Failed

OWN_FOLDERS = ("bench", "docs", "examples", "include", "man", "scripts", "src", "tests")
# What is compiled needs no other headers than the project's and the C library's: others are not installed everywhere.
COMPILED_FOLDERS = ("examples", "src/common", "src/lltest", "src/passthroughfs", "src/tmpfs")
COMPILED_FILES = 10
LIBRARY_HEADER = re.compile(r"^#include <(fuse|liburing|seccomp|sqlite3|sys/capability)", re.MULTILINE)
STATUS_RUNS = 3
FIND_RUNS = 3
INSERTS = 50
# It looks at each file, and says nothing.
FIND = ["find", ".", "-size", "+1000000000k"]
GIT = ["git", "-c", "gc.auto=0", "-c", "maintenance.auto=false", "-c", "init.defaultBranch=main"]
MAKEFILE = """\
OBJECTS := {objects}
all: $(OBJECTS)
%.o: %.c
	cc -std=gnu17 -O0 -D_GNU_SOURCE -Icopy0/llfuse/include -Icopy0/llfuse/src/common -c -o $@ $<
"""


class Tree:
    """The archive: copies of the project's own tree and of libfuse's, and a Makefile."""

    def __init__(self, path, least_files):
        self.path = path
        self.repository = None
        self.compiled = 0
        self.files = 0
        members = list(own_files()) + list(libfuse_files())
        copies = math.ceil(least_files / len(members))
        with tarfile.open(path, "w") as archive:
            for copy in range(copies):
                for source, name in members:
                    archive.add(source, f"copy{copy}/{name}", recursive=False, filter=owned_by_nobody)
            self._add_makefile(archive, [name for path, name in members if is_compiled(path, name)])
            self.files = len(archive.getmembers())

    def make_repository(self, bench):
        """The same tree, to be cloned, where none of the subjects is."""
        tree = tempfile.mkdtemp(prefix="repository-", dir=bench.work)
        run_command(["tar", "-xf", self.path], bench.work, cwd=tree)
        # In one pack, so that nobody's clone waits for it to be made.
        for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "all"], ["repack", "-a", "-d", "-q"]):
            run_command([*GIT, *arguments], bench.work, cwd=tree)
        self.repository = "file://" + tree

    def _add_makefile(self, archive, names):
        objects = [f"copy0/{name[:-2]}.o" for name in names[:COMPILED_FILES]]
        self.compiled = len(objects)
        for name, text in ((".gitignore", "*.o\n"), ("Makefile", MAKEFILE.format(objects=" ".join(objects)))):
            member = tarfile.TarInfo(name)
            member.size = len(text)
            archive.addfile(member, io.BytesIO(text.encode()))


def owned_by_nobody(member):
    """The same archive whoever makes it."""
    member.uid = member.gid = 0
    member.mtime = 1700000000
    member.uname = member.gname = ""
    return member


def is_compiled(path, name):
    folder, _, file = name.removeprefix("llfuse/").rpartition("/")
    if not name.startswith("llfuse/") or folder not in COMPILED_FOLDERS or not file.endswith(".c"):
        return False
    with open(path, encoding="utf-8") as source:
        return not LIBRARY_HEADER.search(source.read())


def own_files():
    """(path, name in the archive) of the project's files."""
    for folder in OWN_FOLDERS:
        yield from files_below(os.path.join(TOP, folder), f"llfuse/{folder}", skipped=("results", "__pycache__"))
    for name in sorted(os.listdir(TOP)):
        if os.path.isfile(os.path.join(TOP, name)) and not name.startswith("."):
            yield os.path.join(TOP, name), f"llfuse/{name}"


def libfuse_files():
    """Those of libfuse, where its source is there."""
    for name in sorted(os.listdir(os.path.join(TOP, "subprojects"))):
        if name.startswith("fuse-"):
            yield from files_below(os.path.join(TOP, "subprojects", name), "libfuse", skipped=())


def files_below(path, name, skipped):
    for folder, folders, files in os.walk(path):
        folders[:] = sorted(f for f in folders if f not in skipped)
        inside = os.path.relpath(folder, path)
        for file in sorted(files):
            yield os.path.join(folder, file), os.path.normpath(os.path.join(name, inside, file))


def run(bench):
    tree = Tree(os.path.join(bench.work, "tree.tar"), bench.settings.tree_files)
    steps = [
        make_step(bench, tree, *row)
        for row in (
            ("untar", untar, "file"),
            ("make", make, "compiled file"),
            ("find, cold", find_cold, "file"),
            ("find", find, "file"),
            ("git clone", git_clone, "file"),
            ("git status", git_status, "file"),
            ("sqlite inserts", sqlite_inserts, "transaction"),
            ("rm -rf", remove, "file"),
        )
    ]
    tree.make_repository(bench)
    run_rounds(bench, "tools", steps, lambda place: place.new_directory(), on_disk=True)


def make_step(bench, tree, name, measure_one, per):
    return Step(Workload("tools", name, "ms", per=per), lambda place: measure_one(bench, tree, place))


def timed(bench, place, command, units):
    place.mounted.settle()
    with Counted(place.mounted) as counted:
        done = run_command(command, bench.work, cwd=place.directory)
    return done, counted.per(units)


def untar(bench, tree, place):
    done, requests = timed(bench, place, ["tar", "-xf", tree.path], tree.files)
    return done.seconds * 1000, requests


def make(bench, tree, place):
    done, requests = timed(bench, place, ["make", "-s", f"-j{os.cpu_count()}"], tree.compiled)
    return done.seconds * 1000, requests


def find_cold(bench, tree, place):
    place.mounted.drop_names()
    done, requests = timed(bench, place, FIND, tree.files)
    return done.seconds * 1000, requests


def find(bench, tree, place):
    """Several at once, as one is short; the one before has looked at all of it."""
    script = "; ".join([shlex.join(FIND)] * FIND_RUNS)
    done, requests = timed(bench, place, ["sh", "-c", script], tree.files * FIND_RUNS)
    return done.seconds * 1000 / FIND_RUNS, requests


def git_clone(bench, tree, place):
    done, requests = timed(bench, place, [*GIT, "clone", "-q", tree.repository, "clone"], tree.files)
    return done.seconds * 1000, requests


def git_status(bench, tree, place):
    """Of the clone; several at once, as one is short; after one that brings the index up to date."""
    in_clone = ["git", "-C", "clone", "status", "--porcelain"]
    run_command(in_clone, bench.work, cwd=place.directory)
    script = "; ".join([shlex.join(in_clone)] * STATUS_RUNS)
    done, requests = timed(bench, place, ["sh", "-c", script], tree.files * STATUS_RUNS)
    if done.output:
        raise Failed(f"git status: {done.output.splitlines()[0]}, but nothing has changed")
    return done.seconds * 1000 / STATUS_RUNS, requests


def sqlite_inserts(bench, _tree, place):
    """A transaction for each row: the journal and the database are forced out for each."""
    script = os.path.join(bench.work, "inserts.sql")
    with open(script, "w", encoding="utf-8") as file:
        file.write("PRAGMA synchronous=FULL;\nCREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT);\n")
        file.writelines(f"INSERT INTO t (text) VALUES ('row {i}');\n" for i in range(INSERTS))
    done, requests = timed(bench, place, ["sqlite3", "-bail", "rows.db", f".read {script}"], INSERTS)
    return done.seconds * 1000, requests


def remove(bench, tree, place):
    # What others made is not the same everywhere, if only because they failed.
    run_command(["rm", "-rf", "clone", "rows.db", "rows.db-journal"], bench.work, cwd=place.directory)
    done, requests = timed(bench, place, ["rm", "-rf", place.directory], tree.files)
    return done.seconds * 1000, requests
