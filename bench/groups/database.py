# SPDX-License-Identifier: MIT
"""
A tmpfs that is kept in a database, against what else does such a thing: commits against the sqlite3 shell that writes
the same rows in one transaction, from a table to a table, with no text to read; a saved copy against tar of the same
tree in the kernel's tmpfs; loading against tar that unpacks it there; and writing against writing without a database.

Each figure is a ratio of two times that were taken one after the other.
"""

import contextlib
import io
import os
import re
import subprocess
import tarfile
import tempfile
import time

from commands import run as run_command
from groups.data import told_by_fio
from harness import kernel
from harness.database import copy_of
from results import Workload
from rounds import Place, Step, take_step
from subjects import MOUNT_FLAGS, DaemonMount, Unmounted

SMALL_BYTES = 100
PER_DIRECTORY = 1000


def workload(name):
    return Workload("database", name, "times", has_speed=False)


COMMIT_SMALL = workload("commit of small files, the time of the shell's")
COMMIT_LARGE = workload("commit of new data, the time of the shell's")
SAVE = workload("save, the time of tar's")
LOAD = workload("load, the time of untar's")
WRITE = {
    size: Workload("database", f"write {size}, the speed without a database", "times", is_rate=True, has_speed=False)
    for size in ("4k", "128k")
}
STOPPED = Workload("database", "nobody can change anything while a copy is taken", "ms", has_speed=False)


class Kept:
    """One of our subjects with a database on the disk."""

    def __init__(self, bench, subject, work, *options):
        self.bench = bench
        self.subject = subject
        self.path = os.path.join(work, "tree.db")
        self.options = options
        self.work = work

    @contextlib.contextmanager
    def mounted(self, option=None):
        """With @option, such as load=FILE, in the place of db=."""
        settings = self.bench.settings
        directory = tempfile.mkdtemp(prefix="mnt-", dir=self.bench.work)
        mount = DaemonMount(
            self.subject,
            directory,
            os.path.join(settings.llfuse_build, "tmpfs"),
            ["-o", "io_uring" if settings.transport == "io_uring" else "no_io_uring", *self.options]
            + (["-o", option or f"db={self.path},commit=0"] if option != "" else []),
            settings.transport,
        )
        try:
            yield mount
            mount.close()
        finally:
            mount.abandon()

    def ctl(self, *words):
        return run_command([os.path.join(self.bench.settings.llfuse_build, "llfusectl"), *words], self.work).seconds


def run(bench):
    with tempfile.TemporaryDirectory(prefix="llfuse-bench-db-", dir=bench.settings.disk) as disk:
        packed = pack(bench, disk)
        for number in range(bench.settings.runs):
            bench.say(f"database, round {number + 1} of {bench.settings.runs}")
            for subject in bench.subjects:
                if subject.is_ours:
                    measure_one(bench, subject, number, disk, packed)


def pack(bench, disk):
    """An archive of as many small files as one commit is to have."""
    path = os.path.join(disk, "small.tar")
    with tarfile.open(path, "w") as tar:
        for number in range(bench.settings.files // (10 if bench.settings.full else 100)):
            info = tarfile.TarInfo(f"d{number // PER_DIRECTORY}/f{number}")
            info.size = SMALL_BYTES
            tar.addfile(info, io.BytesIO(b"%10d" % number * (SMALL_BYTES // 10)))
    return path


def measure_one(bench, subject, number, disk, packed):
    options = re.findall(r"data=\w+", subject.name)
    for workloads, measure in (
        ((COMMIT_SMALL, LOAD, SAVE, STOPPED), measure_tree),
        ((COMMIT_LARGE,), measure_data),
        (WRITE.values(), measure_writes),
    ):
        with tempfile.TemporaryDirectory(dir=disk) as work:
            kept = Kept(bench, subject, work, *(["-o", options[0]] if options else []))
            place = Place(Unmounted(subject))
            figures = {}
            if not bench.attempt("database", place, lambda _place: figures.update(measure(bench, kept, packed))):
                continue
            for one in workloads:
                take_step(bench, Step(one, lambda _place: (figures[one], None)), number, place)


@contextlib.contextmanager
def kernel_tmpfs(bench):
    directory = tempfile.mkdtemp(prefix="kernel-", dir=bench.work)
    kernel.mount("bench", directory, "tmpfs", MOUNT_FLAGS, "nr_inodes=0,size=75%")
    try:
        yield directory
    finally:
        kernel.umount(directory, kernel.MNT_DETACH)


def shell_seconds(bench, kept):
    """The shell writes the rows of the database to another one."""
    other = os.path.join(kept.work, "other.db")
    schema = subprocess.run(["sqlite3", kept.path, ".schema"], capture_output=True, text=True, check=True).stdout
    tables = re.findall(r"^CREATE TABLE (?:IF NOT EXISTS )?\W?(\w+)", schema, re.MULTILINE)
    lines = ["PRAGMA journal_mode=WAL;", f"ATTACH '{kept.path}' AS old;", "BEGIN;"]
    lines += [line for line in schema.splitlines() if "sqlite_sequence" not in line]
    lines += [f"INSERT INTO {name} SELECT * FROM old.{name};" for name in tables if not name.startswith("sqlite_")]
    lines.append("COMMIT;")
    script = os.path.join(kept.work, "copy.sql")
    with open(script, "w", encoding="utf-8") as file:
        file.write("\n".join(lines))
    seconds = run_command(["sqlite3", "-bail", other, f".read {script}"], bench.work).seconds
    for suffix in ("", "-wal", "-shm"):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(other + suffix)
    return seconds


def measure_tree(bench, kept, packed):
    figures = {}
    with kept.mounted() as mount:
        run_command(["tar", "-xf", packed, "-C", mount.directory], bench.work)
        seconds = kept.ctl("sync", mount.directory)
        copy = os.path.join(kept.work, "copy.db")
        saved = kept.ctl("save", mount.directory, copy)
        figures[STOPPED] = stopped_ms(mount)
    figures[COMMIT_SMALL] = seconds / shell_seconds(bench, kept)
    with kernel_tmpfs(bench) as directory:
        unpacked = run_command(["tar", "-xf", packed, "-C", directory], bench.work).seconds
        archive = os.path.join(kept.work, "copy.tar")
        figures[SAVE] = saved / run_command(["tar", "-cf", archive, "-C", directory, "."], bench.work).seconds
    figures[LOAD] = load_seconds(kept, copy) / unpacked
    return figures


def stopped_ms(mount):
    fd = os.open(mount.directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return copy_of(fd).stop_ns / 1e6
    finally:
        os.close(fd)


def load_seconds(kept, copy):
    """Until the mount answers: all names and attributes are there then."""
    begun = time.perf_counter()
    with kept.mounted(f"load={copy}") as mount:
        os.stat(mount.directory)
        return time.perf_counter() - begun


def fio(bench, path, block, *options):
    megabytes = (8 if bench.settings.full else 1) * bench.settings.file_mib
    command = ["fio", "--name=bench", f"--filename={path}", "--ioengine=psync", "--rw=write", f"--bs={block}"]
    command += [f"--size={megabytes}M", "--fallocate=none", "--thread", "--output-format=json", *options]
    return told_by_fio(run_command(command, bench.work).output)["write"]["bw_bytes"]


def measure_data(bench, kept, _packed):
    with kept.mounted() as mount:
        fio(bench, os.path.join(mount.directory, "data"), "128k", "--randrepeat=0", "--refill_buffers")
        seconds = kept.ctl("sync", mount.directory)
    return {COMMIT_LARGE: seconds / shell_seconds(bench, kept)}


def measure_writes(bench, kept, _packed):
    """Twice: to a new file, and over it.  The commits of every five seconds fall into it."""
    rates = {}
    for name, option in (("with", f"db={kept.path}"), ("without", "")):
        with kept.mounted(option) as mount:
            path = os.path.join(mount.directory, "data")
            for block in WRITE:
                rates[name, block] = fio(bench, path, block, f"--loops={4 if bench.settings.full else 1}")
    return {one: rates["with", block] / rates["without", block] for block, one in WRITE.items()}
