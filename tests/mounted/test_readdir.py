# SPDX-License-Identifier: MIT
"""Listings: every entry once, offsets that stay valid while others come and go, little memory."""

import errno
import os
import random
import stat

import pytest

from harness import kernel
from harness.children import Child
from harness.script import like_a_plain_directory


def make_files(directory, names):
    for name in names:
        os.mknod(os.path.join(directory, name))


def list_in_pieces(fd, size, between=lambda: None):
    """All names, read with small buffers, @between called after each."""
    names = []
    while True:
        entries = kernel.getdents(fd, size)
        if not entries:
            return names
        names += [os.fsdecode(entry[0]) for entry in entries]
        between()


def without_dots(names):
    return [name for name in names if name not in (".", "..")]


@like_a_plain_directory
def test_listing_follows_every_change(t):
    t.ls()
    t.write("a")
    t.ls()
    t(os.mkdir, "d")
    t.ls()
    t(os.rename, "a", "d/b")
    t.ls()
    t.ls("d")
    t(os.symlink, "x", "s")
    t(os.rename, "s", "s2")
    t.ls()
    t(os.unlink, "s2")
    t.ls()
    t(os.unlink, "d/b")
    t(os.rmdir, "d")
    t.ls()


def test_entries_tell_their_type_and_inode(fs):
    os.mkdir(fs.path("dir"))
    os.mknod(fs.path("file"))
    os.symlink("x", fs.path("link"))
    os.mkfifo(fs.path("fifo"))
    os.link(fs.path("file"), fs.path("hard"))
    kinds = {"dir": 4, "file": 8, "hard": 8, "link": 10, "fifo": 1, ".": 4, "..": 4}
    fd = os.open(fs.dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        entries = kernel.getdents(fd, 32768)
        assert kernel.getdents(fd, 32768) == []
    finally:
        os.close(fd)
    assert sorted(os.fsdecode(entry[0]) for entry in entries) == sorted(kinds)
    for name, _off, ino, kind in entries:
        name = os.fsdecode(name)
        assert kind == kinds[name]
        if name != "..":
            assert ino == os.lstat(fs.path(name)).st_ino, name


def test_attributes_after_a_listing_are_right(fs):
    """A listing may carry attributes (readdirplus): they are those that stat gives."""
    for number in range(50):
        with open(fs.path(f"f{number}"), "wb") as file:
            file.write(b"x" * number)
    with os.scandir(fs.dir) as entries:
        seen = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
    assert len(seen) == 50
    for number in range(50):
        st = seen[f"f{number}"]
        assert (st.st_size, stat.S_ISREG(st.st_mode), st.st_nlink) == (number, True, 1)
        assert st.st_ino == os.stat(fs.path(f"f{number}")).st_ino


def test_two_listings_of_one_directory_do_not_disturb_each_other(fs):
    make_files(fs.dir, [f"f{number}" for number in range(300)])
    one = os.open(fs.dir, os.O_RDONLY | os.O_DIRECTORY)
    two = os.open(fs.dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        names_one, names_two = [], []
        for _ in range(1000):
            part_one, part_two = kernel.getdents(one, 300), kernel.getdents(two, 1000)
            names_one += part_one
            names_two += part_two
            if not part_one and not part_two:
                break
    finally:
        os.close(one)
        os.close(two)
    assert sorted(entry[0] for entry in names_one) == sorted(entry[0] for entry in names_two)
    assert len(names_one) == 302


def test_ten_thousand_entries_each_exactly_once(fs_many):
    names = [f"entry-{number:05}" for number in range(10_000)]
    make_files(fs_many.dir, names)
    assert sorted(os.listdir(fs_many.dir)) == names
    with os.scandir(fs_many.dir) as entries:
        assert sorted(entry.name for entry in entries if entry.is_file(follow_symlinks=False)) == names
    for name in names:
        os.unlink(fs_many.path(name))
    assert os.listdir(fs_many.dir) == []
    os.rmdir(fs_many.dir)


def test_offsets_lead_back_to_their_entry(fs):
    make_files(fs.dir, [f"f{number:03}" for number in range(200)])
    fd = os.open(fs.dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        order, offsets = [], [0]
        while True:
            entries = kernel.getdents(fd, 200)
            if not entries:
                break
            for name, off, _ino, _kind in entries:
                order.append(name)
                offsets.append(off)
        assert len(order) == 202
        assert len(set(offsets)) == len(offsets)
        places = list(range(len(order)))
        random.Random(3).shuffle(places)
        for place in places:
            os.lseek(fd, offsets[place], os.SEEK_SET)
            assert kernel.getdents(fd, 400)[0][0] == order[place]
        os.lseek(fd, offsets[-1], os.SEEK_SET)
        assert kernel.getdents(fd, 400) == []
        os.lseek(fd, 0, os.SEEK_SET)
        assert kernel.getdents(fd, 400)[0][0] == order[0]
    finally:
        os.close(fd)


def test_offsets_stay_valid_when_their_entry_goes(fs):
    names = [f"f{number:03}" for number in range(200)]
    make_files(fs.dir, names)
    fd = os.open(fs.dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        first = kernel.getdents(fd, 2000)
        seen = [os.fsdecode(entry[0]) for entry in first]
        for name in without_dots(seen):
            os.unlink(fs.path(name))
        os.lseek(fd, first[-1][1], os.SEEK_SET)
        rest = list_in_pieces(fd, 500)
    finally:
        os.close(fd)
    assert sorted(without_dots(seen + rest)) == names


def test_entries_that_stay_are_listed_once_while_others_change(fs):
    """One process lists in pieces, another makes, removes and renames."""
    stay = [f"stay-{number:04}" for number in range(250)]
    make_files(fs.dir, [name for pair in zip(stay, [f"go-{number:04}" for number in range(250)]) for name in pair])

    def change(link):
        rng = random.Random(7)
        here = [f"go-{number:04}" for number in range(250)]
        step = 0
        while link.hear() == "go on":
            for _ in range(15):
                step += 1
                victim = here.pop(rng.randrange(len(here)))
                kind = rng.random()
                if kind < 0.4:
                    os.unlink(fs.path(victim))
                    here.append(f"new-{step}")
                    os.mknod(fs.path(here[-1]))
                elif kind < 0.8:
                    here.append(f"moved-{step}-{'x' * rng.randrange(100)}")
                    os.rename(fs.path(victim), fs.path(here[-1]))
                else:
                    os.rename(fs.path(victim), fs.path(here[0]))
                    here.append(f"more-{step}")
                    os.mknod(fs.path(here[-1]))
            link.tell("changed")

    with Child(change) as child:

        def let_change():
            child.link.tell("go on")
            child.link.hear()

        for _ in range(2):
            fd = os.open(fs.dir, os.O_RDONLY | os.O_DIRECTORY)
            try:
                names = list_in_pieces(fd, 1000, let_change)
            finally:
                os.close(fd)
            assert sorted(name for name in names if name.startswith("stay-")) == stay
            gone = [name for name in names if name.startswith("go-")]
            assert len(gone) == len(set(gone))
        child.link.tell("end")
        child.result()


def test_removing_everything_while_listing(fs):
    """What rm -r does: with the buffers of the C library, and with tiny ones."""
    for size in (500, 32768):
        make_files(fs.dir, [f"f{number:04}" for number in range(500)])
        fd = os.open(fs.dir, os.O_RDONLY | os.O_DIRECTORY)
        try:
            while True:
                entries = kernel.getdents(fd, size)
                if not entries:
                    break
                for name in without_dots(os.fsdecode(entry[0]) for entry in entries):
                    os.unlink(fs.path(name))
        finally:
            os.close(fd)
        assert os.listdir(fs.dir) == []


def test_listing_of_a_file_is_refused(fs):
    os.mknod(fs.path("file"))
    with pytest.raises(NotADirectoryError):
        os.listdir(fs.path("file"))
    fd = os.open(fs.path("file"), os.O_RDONLY)
    try:
        with pytest.raises(OSError) as refused:
            kernel.getdents(fd, 1000)
        assert refused.value.errno == errno.ENOTDIR
    finally:
        os.close(fd)


def test_names_of_255_bytes_are_listed(fs):
    names = sorted(("%03d" % number) + "n" * 252 for number in range(100))
    make_files(fs.dir, names)
    assert sorted(os.listdir(fs.dir)) == names
    fd = os.open(fs.dir, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert sorted(without_dots(list_in_pieces(fd, 300))) == names
    finally:
        os.close(fd)


@pytest.mark.limit(300)
def test_two_hundred_thousand_entries_in_constant_memory(new_mount):
    """The listing of a huge directory makes the daemon no bigger."""
    mount = new_mount("tmpfs")
    count = 200_000
    parts = 2

    def make(_link, part):
        os.chdir(mount.mountpoint)
        for number in range(part, count, parts):
            os.mknod(f"{number:06}")

    for child in [Child(make, part) for part in range(parts)]:
        child.result(250)

    def list_all(_link):
        fd = os.open(mount.mountpoint, os.O_RDONLY | os.O_DIRECTORY)
        names = list_in_pieces(fd, 65536)
        return len(names), len(set(names))

    before = mount.memory_kib()
    assert Child(list_all).result(120) == (count + 2, count + 2)
    assert mount.memory_kib() - before < 16 * 1024
