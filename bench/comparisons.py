# SPDX-License-Identifier: MIT
"""
Which subjects are compared with each other: one of our file systems, in the ways in which it can run, with
what is to be had without it (the reference) and with an example of libfuse's that does the same (the peer).

A subject that later joins needs an entry here and, if it is a program, its command line.
"""

import os
import re
import subprocess
import tempfile

from harness import mounts
from settings import FILE_SYSTEMS, GROUPS, Refused
from subjects import DaemonMount, DiskDirectory, Failed, KernelMount, MirrorMount, Subject, last_line

PLACES = ("kernel", "heap")  # where tmpfs can keep the bytes of files


class Comparison:
    """
    The subjects in their order, the names of those that the others are measured by, and why others are
    @missing, by name.  @groups are those that there is something to be said in, @left_out names workloads
    of them that there is not, @remark is what the report says about the conditions.
    """

    def __init__(self, name, reference, peer, groups=GROUPS, left_out=(), remark=""):
        self.name = name
        self.reference = reference
        self.peer = peer
        self.groups = groups
        self.left_out = left_out
        self.remark = remark
        self.subjects = []
        self.missing = {}

    def add_peer(self, make_peer):
        """@make_peer(name) makes the subject, or raises Failed if it cannot be had."""
        try:
            self.subjects.append(make_peer(self.peer))
        except (Failed, OSError) as error:
            self.missing[self.peer] = str(error)

    def __str__(self):
        names = ", ".join(subject.name for subject in self.subjects)
        return f"{names}; {self.remark}" if self.remark else names


def program_options(program):
    """What its --help says."""
    try:
        done = subprocess.run([program, "--help"], capture_output=True, text=True, timeout=20, check=False)
    except OSError as error:
        raise Refused(f"{program}: {error.strerror}") from error
    return done.stdout


def daemon(program, transport, *options):
    def mount(subject, directory, _on_disk):
        return DaemonMount(subject, directory, program, options, transport)

    return mount


def transport_options(transport):
    """Of our programs."""
    return ["-o", "io_uring" if transport == "io_uring" else "no_io_uring"]


def peer_options(transport):
    """Of libfuse's programs, which do without unless told."""
    return ["-o", "io_uring"] if transport == "io_uring" else []


def tmpfs_subjects(settings):
    """One for each place that the program can keep bytes in; a single one where it knows one place only."""
    program = os.path.join(settings.llfuse_build, "tmpfs")
    transport = settings.transport
    options = transport_options(transport)
    if not re.search(r"\bdata=", program_options(program)):
        return [Subject("tmpfs", daemon(program, transport, *options), is_ours=True)]
    return [
        Subject(
            f"tmpfs data={place}",
            daemon(program, transport, *options, "-o", f"data={place}"),
            is_ours=True,
            passes_data_through=place == "kernel",
            # Names are the same wherever the bytes are, and a million takes minutes.
            why_not_large="" if place == PLACES[0] else f"names are kept as with data={PLACES[0]}",
        )
        for place in PLACES
    ]


def compare_tmpfs(settings):
    """With the kernel's own, and libfuse's file system in memory."""

    def memfs(name):
        program = build_peer(settings.llfuse_build, name)
        return Subject(
            name,
            daemon(program, settings.transport, "-f", *peer_options(settings.transport)),
            # It leaves st_blksize unset, and a mapped file then gives SIGBUS.
            known_failures=("tools, git status",),
            why_not_large="it searches a directory name by name",
        )

    comparison = Comparison("tmpfs", reference="kernel", peer="memfs_ll")
    kernel_tmpfs = Subject("kernel", lambda subject, directory, _on_disk: KernelMount(subject, directory))
    comparison.subjects += [kernel_tmpfs, *tmpfs_subjects(settings)]
    comparison.add_peer(memfs)
    return comparison


def compare_passthroughfs(settings, disk):
    """With the source without it, and libfuse's mirror of a directory.  @disk is a directory on a disk."""

    def storage(subject, directory, on_disk):
        return DiskDirectory(subject, disk) if on_disk else KernelMount(subject, directory)

    def mirror(program, *options):
        def mount(subject, directory, on_disk):
            below = tempfile.mkdtemp(prefix="source-", dir=os.path.dirname(directory))
            made = storage(subject, below, on_disk)
            return MirrorMount(subject, directory, program, options, settings.transport, made)

        return mount

    def passthrough_hp(name):
        program = build_peer(settings.llfuse_build, name)
        return Subject(
            name,
            mirror(program, "--foreground", *peer_options(settings.transport)),
            why_not_large="it keeps a descriptor for each file that the kernel knows",
        )

    comparison = Comparison(
        "passthroughfs",
        reference="source",
        peer="passthrough_hp",
        groups=tuple(name for name in GROUPS if name not in ("scale", "database")),
        # On a disk it is a matter of what has been written back, and of discards.
        left_out=("rm -rf",),
        remark=f"the source is a tmpfs of the kernel's, for the tools a directory on {file_system_of(disk)}",
    )
    program = os.path.join(settings.llfuse_build, "passthroughfs")
    comparison.subjects += [
        Subject("source", storage),
        Subject("passthroughfs", mirror(program, *transport_options(settings.transport)), is_ours=True),
    ]
    comparison.add_peer(passthrough_hp)
    return comparison


def file_system_of(path):
    """The type of the file system that @path is on."""
    path = os.path.realpath(path)
    above = [entry for entry in mounts.all_mounts() if is_at_or_below(path, entry.mountpoint)]
    # Of two at one place the later one is seen.
    return max(reversed(above), key=lambda entry: len(entry.mountpoint)).fstype


def is_at_or_below(path, directory):
    return os.path.commonpath((path, directory)) == directory


def build_peer(build, name):
    """Builds an example of libfuse from the source that the build has.  Returns its path."""
    targets = subprocess.run(["ninja", "-C", build, "-t", "targets", "all"], capture_output=True, text=True, check=False)
    found = re.search(rf"^(subprojects/\S+/example/{name}): ", targets.stdout, re.MULTILINE)
    if not found:
        raise Failed(f"{build} does not build it: no C++ compiler, or no source of libfuse, when it was configured")
    done = subprocess.run(["ninja", "-C", build, "--quiet", found[1]], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"cannot be built: {first_error(done.stdout)}")
    return os.path.join(build, found[1])


def first_error(text):
    for line in text.splitlines():
        if "error:" in line:
            return line
    return last_line(text)


def all_comparisons(settings, disk):
    """Those that were asked for."""
    makers = {
        "tmpfs": lambda: compare_tmpfs(settings),
        "passthroughfs": lambda: compare_passthroughfs(settings, disk),
    }
    return [makers[name]() for name in FILE_SYSTEMS if name in settings.fs]
