# SPDX-License-Identifier: MIT
"""
Which subjects are compared with each other: one of our file systems, in the ways in which it can run, with
what is to be had without it (the reference) and with other programs that do the same (the peers).

A subject that later joins needs an entry here and, if it is a program, its command line.
"""

import os
import re
import shutil
import subprocess
import tempfile

from harness import mounts
from settings import TRANSPORTS, Refused
from subjects import DaemonMount, DiskDirectory, Failed, KernelMount, MirrorMount, Subject, last_line

# The reference's programs need the Python that Debian's python3-llfuse is for.
PYTHON = "/usr/bin/python3"
REFERENCE_PLACES = tuple(f"/usr/share/doc/{package}/examples" for package in ("python3-llfuse", "python-llfuse-doc"))
REFERENCE_IS_SLOW = "it would take hours"
PLACES = ("kernel", "heap")  # where tmpfs can keep the bytes of files


class Comparison:
    """
    The subjects in their order, the names of those that the others are measured by (the @reference, and the
    peers), and why others are @missing, by name.  @left_out names workloads that there is nothing to be said
    in, @remark is what the report says about the conditions.
    """

    def __init__(self, name, reference, left_out=(), remark=""):
        self.name = name
        self.reference = reference
        self.left_out = left_out
        self.remark = remark
        self.peers = []
        self.subjects = []
        self.missing = {}

    def add_peer(self, name, make_peer):
        """@make_peer(name) makes the subject, or raises Failed if it cannot be had."""
        self.peers.append(name)
        try:
            self.subjects.append(make_peer(name))
        except (Failed, OSError) as error:
            self.missing[name] = str(error)


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
            # Wherever the bytes are, and a million takes long.
            same_names_as="" if place == PLACES[0] else f"data={PLACES[0]}",
        )
        for place in PLACES
    ]


def installed(program):
    path = shutil.which(program)
    if not path:
        raise Failed("it is not installed; scripts/setup bench does it")
    return path


def reference_program(settings, file):
    """The command line of one of the reference's programs in Python."""
    done = subprocess.run([PYTHON, "-c", "import llfuse"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Failed(f"{PYTHON}: {last_line(done.stderr)}")
    places = [settings.reference] if settings.reference else REFERENCE_PLACES
    for place in places:
        path = os.path.join(place, file)
        if os.path.isfile(path):
            return PYTHON, path
    raise Failed(f"not in {' or '.join(places)}; REFERENCE= says where it is")


def kernel_tmpfs(name):
    return Subject(name, lambda subject, directory, _on_disk: KernelMount(subject, directory), is_program=False)


def compare_lltest(settings):
    """On each transport, with libfuse's file system in memory and the reference's lltest."""

    def ours(transport):
        program = os.path.join(settings.llfuse_build, "lltest")
        return Subject(f"lltest {transport}", daemon(program, transport, *transport_options(transport)), is_ours=True)

    def memfs(transport):
        def make(name):
            program = build_peer(settings.llfuse_build, "memfs_ll")
            return Subject(name, daemon(program, transport, "-f", *peer_options(transport)))

        return make

    def in_python(name):
        program, script = reference_program(settings, "lltest.py")
        return Subject(name, daemon(program, "dev_fuse", script), is_slow=True)

    # Without io_uring there is one less of each.
    transports = TRANSPORTS if settings.transport == "io_uring" else ("dev_fuse",)
    comparison = Comparison("lltest", reference="kernel", remark="kernel is its tmpfs")
    comparison.subjects += [kernel_tmpfs("kernel"), *map(ours, transports)]
    for transport in transports:
        comparison.add_peer(f"memfs_ll {transport}", memfs(transport))
    comparison.add_peer("lltest.py", in_python)
    return comparison


def compare_tmpfs(settings):
    """With the kernel's own, libfuse's file system in memory, and the reference's."""

    def memfs(name):
        program = build_peer(settings.llfuse_build, name)
        return Subject(
            name,
            daemon(program, settings.transport, "-f", *peer_options(settings.transport)),
            # It leaves st_blksize unset, and a mapped file then gives SIGBUS; of several calls at once some may fail.
            known_failures=("tools, (git|sqlite|make).*", "data, .*mmap.*", "data, .* jobs"),
            why_not_large="it searches a directory name by name",
        )

    def in_python(name):
        program, script = reference_program(settings, name)
        return Subject(
            name,
            daemon(program, "dev_fuse", script),
            is_slow=True,
            # It copies all of a file for each call.
            has_small_file=True,
            why_not_large=REFERENCE_IS_SLOW,
        )

    comparison = Comparison("tmpfs", reference="kernel")
    comparison.subjects += [kernel_tmpfs("kernel"), *tmpfs_subjects(settings)]
    comparison.add_peer("memfs_ll", memfs)
    comparison.add_peer("tmpfs.py", in_python)
    return comparison


def compare_passthroughfs(settings, disk):
    """With the source without it, and other mirrors of a directory.  @disk is a directory on a disk."""

    def storage(subject, directory, on_disk):
        return DiskDirectory(subject, disk) if on_disk else KernelMount(subject, directory)

    def mirror(program, *options, transport=settings.transport, options_for=None):
        """@options_for(directory) in the place of a source on the command line."""

        def mount(subject, directory, on_disk):
            below = tempfile.mkdtemp(prefix="source-", dir=os.path.dirname(directory))
            made = storage(subject, below, on_disk)
            more = options_for(made.directory) if options_for else ()
            source = None if options_for else made.directory
            return MirrorMount(subject, directory, program, [*options, *more], transport, made, source)

        return mount

    def passthrough_hp(name):
        program = build_peer(settings.llfuse_build, name)
        return Subject(
            name,
            mirror(program, "--foreground", *peer_options(settings.transport)),
            known_failures=("scale, ls -l.*",),  # it keeps a descriptor of each file that the kernel knows
        )

    def bindfs(name):
        # The libfuse that it comes with knows no io_uring.
        mount = mirror(installed(name), "-f", transport="dev_fuse")
        return Subject(name, mount)

    def fuse_overlayfs(name):
        mount = mirror(installed(name), "-f", transport="dev_fuse", options_for=upper_layer)
        return Subject(name, mount, why_not_large="it takes minutes to make so many in one directory")

    def in_python(name):
        program, script = reference_program(settings, name)
        mount = mirror(program, script, transport="dev_fuse")
        return Subject(name, mount, is_slow=True, why_not_large="it reads all of a directory first: seconds of a million")

    comparison = Comparison(
        "passthroughfs",
        reference="source",
        # On a disk it is a matter of what has been written back, and of discards.
        left_out=("rm -rf",),
        remark=f"the source is a tmpfs of the kernel's, for the tools a directory on {file_system_of(disk)}",
    )
    program = os.path.join(settings.llfuse_build, "passthroughfs")
    comparison.subjects += [
        Subject("source", storage, is_program=False),
        Subject("passthroughfs", mirror(program, *transport_options(settings.transport)), is_ours=True),
    ]
    for name, make_peer in (
        ("passthrough_hp", passthrough_hp),
        ("bindfs", bindfs),
        ("fuse-overlayfs", fuse_overlayfs),
        ("passthroughfs.py", in_python),
    ):
        comparison.add_peer(name, make_peer)
    return comparison


def upper_layer(directory):
    """Options of fuse-overlayfs: all is in the upper of two layers, where it can be changed without a copy."""
    lower, upper, work = (os.path.join(directory, name) for name in ("lower", "upper", "work"))
    for path in (lower, upper, work):
        os.mkdir(path)
    return "-o", f"lowerdir={lower},upperdir={upper},workdir={work}"


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
        "lltest": lambda: compare_lltest(settings),
        "tmpfs": lambda: compare_tmpfs(settings),
        "passthroughfs": lambda: compare_passthroughfs(settings, disk),
    }
    return [makers[name]() for name in settings.only.fs if settings.only.groups_of(name)]
