# SPDX-License-Identifier: MIT
"""Names: create, link, rename, remove, and what becomes of files in use meanwhile."""

import os
import socket
import stat

import pytest

from conftest import needs_root
from harness import kernel
from harness.children import Child
from harness.script import like_a_plain_directory


@like_a_plain_directory
def test_create_and_open(t):
    t.close(t.open("new", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o640))
    t.stat("new")
    t.open("new", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    t.close(t.open("new", os.O_RDWR | os.O_CREAT, 0o600))
    t.stat("new")
    t.open("missing")
    t.open("missing/below", os.O_RDWR | os.O_CREAT)
    t.open("new/below")
    t.open("new", os.O_RDONLY | os.O_DIRECTORY)
    t(os.mkdir, "dir")
    t.open("dir", os.O_WRONLY)
    t.open("dir", os.O_RDWR | os.O_CREAT)
    t.close(t.open("dir", os.O_RDONLY | os.O_DIRECTORY))
    t.open("new/", os.O_RDONLY)
    t.ls()


@like_a_plain_directory
def test_create_in_one_directory_is_not_seen_in_another(t):
    t(os.mkdir, "a")
    t(os.mkdir, "b")
    t.write("a/f", b"in a")
    t.read("b/f")
    t.write("b/f", b"in b")
    t.read("a/f")
    t.read("b/f")
    t.read("a/F")


@like_a_plain_directory
def test_a_missing_name_is_found_once_it_is_made(t):
    for make in (
        lambda: t.write("n"),
        lambda: t(os.mkdir, "n"),
        lambda: t(os.symlink, "x", "n"),
        lambda: t(os.mkfifo, "n"),
    ):
        t.stat("n")
        make()
        t.stat("n")
        t(os.rmdir if stat.S_ISDIR(os.lstat("n").st_mode) else os.unlink, "n")
    t.stat("n")
    t.write("other", b"o")
    t(os.rename, "other", "n")
    t.stat("n", "other")
    t(os.link, "n", "other")
    t.stat("n", "other")


@like_a_plain_directory
def test_directories(t):
    t(os.mkdir, "d", 0o750)
    t.stat("d", ".")
    t(os.mkdir, "d")
    t(os.mkdir, "d/e")
    t(os.mkdir, "d/e/f")
    t.stat("d", "d/e", "d/e/f")
    t(os.rmdir, "d")
    t(os.rmdir, "d/e")
    t(os.rmdir, "d/e/f")
    t(os.rmdir, "d/e/f")
    t(os.rmdir, "d/e")
    t.stat("d", ".")
    t.write("file")
    t(os.rmdir, "file")
    t(os.unlink, "d")
    t(os.rmdir, "d/.")
    t(os.rmdir, "d/..")
    t(os.mkdir, "file/d")
    t(os.rmdir, "d")
    t.ls()


@like_a_plain_directory
def test_dot_and_dot_dot(t):
    t(os.makedirs, "a/b/c")
    t(os.listdir, "a/b/c/../..")
    t.stat("a/b/../b/./c/../../..")
    t.note("inode", os.stat("a/b/..").st_ino == os.stat("a").st_ino)
    t(os.rename, "a/b", "b")
    t.note("inode", os.stat("b/..").st_ino == os.stat(".").st_ino)
    t(os.mkdir, ".")
    t(os.unlink, "..")


@like_a_plain_directory
def test_hard_links_share_one_file(t):
    t.write("a", b"one")
    t(os.mkdir, "d")
    t(os.link, "a", "d/b")
    t(os.link, "d/b", "c")
    t.stat("a", "d/b", "c")
    t.note("inode", len({os.stat(name).st_ino for name in ("a", "d/b", "c")}))
    t.write("c", b"two")
    t.read("a")
    t(os.chmod, "a", 0o600)
    t.stat("a", "d/b", "c")
    t(os.unlink, "a")
    t.stat("a", "d/b", "c")
    t(os.rename, "c", "d/c")
    t.stat("d/b", "d/c")
    t(os.unlink, "d/b")
    t.stat("d/c")
    t.read("d/c")


@like_a_plain_directory
def test_link_refuses(t):
    t.write("a")
    t.write("b")
    t(os.mkdir, "d")
    t(os.link, "a", "b")
    t(os.link, "a", "d")
    t(os.link, "d", "e")
    t(os.link, "missing", "e")
    t(os.link, "a", "missing/e")
    t(os.symlink, "a", "s")
    t(os.link, "s", "s2", follow_symlinks=False)
    t.stat("s", "s2", "a")


@like_a_plain_directory
def test_rename_a_file(t):
    t.write("a", b"a")
    t(os.mkdir, "d")
    t(os.rename, "a", "b")
    t.stat("a", "b")
    t(os.rename, "b", "d/c")
    t.read("d/c")
    t.ls()
    t(os.rename, "missing", "x")
    t(os.rename, "d/c", "missing/x")
    t(os.rename, "d/c", "d/c")
    t(os.rename, "d/c", "d")
    t.ls("d")


@like_a_plain_directory
def test_rename_over_a_file(t):
    t.write("a", b"a")
    t.write("b", b"bb")
    t(os.link, "b", "b2")
    t(os.rename, "a", "b")
    t.stat("a", "b", "b2")
    t.read("b")
    t.read("b2")
    t(os.mkdir, "d")
    t(os.rename, "b", "d")
    t(os.rename, "d", "b")
    t.ls()


@like_a_plain_directory
def test_rename_between_links_of_one_file_does_nothing(t):
    t.write("a", b"a")
    t(os.link, "a", "b")
    t(os.rename, "a", "b")
    t.stat("a", "b")
    t.ls()


@like_a_plain_directory
def test_rename_a_directory(t):
    t(os.makedirs, "a/sub")
    t.write("a/sub/file", b"x")
    t(os.mkdir, "b")
    t.stat(".", "a", "b")
    t(os.rename, "a/sub", "b/sub")
    t.stat(".", "a", "b", "b/sub")
    t.read("b/sub/file")
    t(os.rename, "a", "b/sub")
    t(os.rename, "b/sub", "a")
    t.stat(".", "a", "b")
    t.read("a/file")
    t(os.rename, "a", "b")
    t.read("b/file")
    t.stat(".", "b")


@like_a_plain_directory
def test_rename_a_directory_into_itself(t):
    t(os.makedirs, "a/b/c")
    t(os.rename, "a", "a/x")
    t(os.rename, "a", "a/b/c/x")
    t(os.rename, "a/b/c", "a")
    t(os.rename, "a/b/c", "a/b")
    t(os.rename, "a", "a")
    t(os.rename, "a/.", "x")
    t.stat("a", "a/b", "a/b/c")


@like_a_plain_directory
def test_rename_noreplace(t):
    t.write("a", b"a")
    t.write("b", b"b")
    t(os.mkdir, "d")
    t(kernel.renameat2, "a", "b", kernel.RENAME_NOREPLACE)
    t(kernel.renameat2, "a", "d", kernel.RENAME_NOREPLACE)
    t(kernel.renameat2, "a", "a", kernel.RENAME_NOREPLACE)
    t(kernel.renameat2, "a", "c", kernel.RENAME_NOREPLACE)
    t(kernel.renameat2, "a", "x", kernel.RENAME_NOREPLACE)
    t.read("b")
    t.read("c")
    t.ls()


@like_a_plain_directory
def test_rename_exchange(t):
    t.write("a", b"a")
    t(os.makedirs, "d/sub")
    t(os.mkdir, "e")
    t(kernel.renameat2, "a", "d", kernel.RENAME_EXCHANGE)
    t.stat(".", "a", "d", "a/sub")
    t.read("d")
    t(kernel.renameat2, "a/sub", "d", kernel.RENAME_EXCHANGE)
    t.stat(".", "a", "d")
    t.read("a/sub")
    t(kernel.renameat2, "a", "e", kernel.RENAME_EXCHANGE)
    t.ls("e")
    t(kernel.renameat2, "e", "e/sub", kernel.RENAME_EXCHANGE)
    t(kernel.renameat2, "e/sub", "e", kernel.RENAME_EXCHANGE)
    t(kernel.renameat2, "e", "missing", kernel.RENAME_EXCHANGE)
    t(kernel.renameat2, "missing", "e", kernel.RENAME_EXCHANGE)
    t(kernel.renameat2, "e", "e", kernel.RENAME_EXCHANGE)
    t(kernel.renameat2, "e", "a", kernel.RENAME_EXCHANGE | kernel.RENAME_NOREPLACE)
    t.note("parent", os.stat("a/..").st_ino == os.stat(".").st_ino)
    t.stat(".", "a", "d", "e")


@like_a_plain_directory
def test_rename_an_open_file(t):
    t.write("a", b"before")
    t(os.mkdir, "d")
    fd = t.open("a", os.O_RDWR)
    t(os.rename, "a", "d/b")
    t(os.pwrite, fd, b"after!", 0)
    t.fstat(fd)
    t(os.ftruncate, fd, 5)
    t.read("d/b")
    t.close(fd)
    t.stat("d/b")


@like_a_plain_directory
def test_rename_over_an_open_file_keeps_its_data(t):
    t.write("a", b"new")
    t.write("b", b"old data")
    fd = t.open("b", os.O_RDWR)
    t(os.rename, "a", "b")
    t.fstat(fd)
    t(os.pread, fd, 100, 0)
    t(os.pwrite, fd, b"OLD", 0)
    t(os.pread, fd, 100, 0)
    t.read("b")
    t.close(fd)
    t.read("b")


@like_a_plain_directory
def test_unlinked_file_stays_usable_while_open(t):
    t.write("a", b"content")
    fd = t.open("a", os.O_RDWR)
    t(os.unlink, "a")
    t.stat("a")
    t.fstat(fd)
    t(os.pread, fd, 100, 0)
    t(os.pwrite, fd, b"more", 10)
    t.fstat(fd)
    t(os.ftruncate, fd, 3)
    t(os.pread, fd, 100, 0)
    t(os.fchmod, fd, 0o600)
    t(os.utime, fd, ns=(5, 6))
    t.fstat(fd)
    t(os.fsync, fd)
    t.write("a", b"another")
    t(os.pread, fd, 100, 0)
    t.close(fd)
    t.read("a")


@like_a_plain_directory
def test_unlinked_file_of_two_opens_lives_until_the_last_close(t):
    t.write("a", b"content")
    first = t.open("a", os.O_RDWR)
    second = t.open("a", os.O_RDONLY)
    t(os.unlink, "a")
    t(os.pwrite, first, b"CON", 0)
    t.close(first)
    t(os.pread, second, 100, 0)
    t.fstat(second)
    t.close(second)


@like_a_plain_directory
def test_removed_directory_stays_usable_while_open(t):
    t(os.makedirs, "a/b")
    fd = t.open("a/b", os.O_RDONLY | os.O_DIRECTORY)
    t(os.rmdir, "a/b")
    t.fstat(fd)
    t(list_open_directory, fd)
    t(os.mkdir, "x", dir_fd=fd)
    t(os.open, "x", os.O_CREAT | os.O_WRONLY, dir_fd=fd)
    t(os.symlink, "target", "x", dir_fd=fd)
    t(os.stat, "x", dir_fd=fd)
    t.write("file")
    t(os.link, "file", "x", dst_dir_fd=fd)
    t(os.rename, "file", "x", dst_dir_fd=fd)
    t.close(fd)
    t.stat("a")


def list_open_directory(fd):
    return os.listdir(int(fd))


@like_a_plain_directory
def test_removed_working_directory(t):
    t(os.makedirs, "a/b")
    t(os.chdir, "a/b")
    t(os.rmdir, "../b")
    t.stat(".")
    t.ls(".")
    t.write("x")
    t(os.mkdir, "x")
    t(os.getcwd)
    t(os.chdir, "/")


@like_a_plain_directory
def test_symlinks(t):
    t(os.symlink, "target", "s")
    t.stat("s")
    t(os.readlink, "s")
    t.read("s")
    t.write("s", b"through the link")
    t.read("target")
    t(os.symlink, "x", "s")
    t(os.symlink, "", "empty")
    t(os.mkdir, "d")
    t(os.symlink, "../target", "d/up")
    t.read("d/up")
    t(os.readlink, "d")
    t(os.readlink, "target")
    t(os.symlink, "loop", "loop")
    t.read("loop")
    t(os.unlink, "s")
    t.stat("target")
    t(os.rename, "d/up", "moved")
    t.read("moved")
    t(os.readlink, "moved")
    t(os.symlink, "d", "to_dir")
    t.ls("to_dir")
    t(os.rmdir, "to_dir")
    t.open("to_dir", os.O_RDONLY | os.O_NOFOLLOW)


@like_a_plain_directory
def test_long_symlink_targets(t):
    for size in (1, 59, 60, 255, 256, 1023, 1024, 2048, 4094):
        t(os.symlink, "t" * size, f"s{size}")
        t.stat(f"s{size}")
        t(os.readlink, f"s{size}")
    t(os.symlink, "t" * 4096, "too_long")


def test_symlink_target_of_4095_bytes(tmpfs):
    """More than ext4 takes, with its blocks of 4096 bytes, so that the oracle is POSIX."""
    target = "t" * 4095
    os.symlink(target, tmpfs.path("s"))
    assert os.readlink(tmpfs.path("s")) == target
    assert os.lstat(tmpfs.path("s")).st_size == 4095


@like_a_plain_directory
def test_names(t):
    odd = [b"\xff\xfe\x80", b"\xc3\xa9", b"a\nb\tc", b" ", b"...", b"..x", b"-", b"*?[\\\"'", b"\x01\x7f", b"%s%n"]
    for name in (b"n" * 255, *odd):
        t.write(name, name)
        t.stat(name)
        t.read(name)
    t.ls(b".")
    for name in (b"n" * 256, b"n" * 1000):
        t.write(name)
        t.stat(name)
        t(os.mkdir, name)
        t(os.symlink, b"x", name)
        t(os.rename, b" ", name)
        t(os.link, b" ", name)
        t(os.unlink, name)
        t(os.mkfifo, name)
    t.write("")


@like_a_plain_directory
def test_names_differ_in_case(t):
    t.write("name", b"lower")
    t.write("NAME", b"upper")
    t.read("name")
    t.read("NAME")
    t.ls()


@like_a_plain_directory
def test_paths_up_to_path_max(t):
    depth = 0
    name = "d" * 200
    while (depth + 1) * 201 < 4000:
        os.mkdir(name)
        os.chdir(name)
        depth += 1
    for _ in range(depth):
        os.chdir("..")
    path = "/".join([name] * depth)
    t.write(path + "/file", b"deep")
    t.read(path + "/file")
    longest = path + "/" + "f" * (4095 - len(path) - 1)
    t.write(longest, b"deepest")
    t.read(longest)
    t.read(longest + "f")
    t.stat(path)
    for level in range(depth, 0, -1):
        for left in ("/file", "/" + "f" * (4095 - len(path) - 1)) if level == depth else ():
            t(os.unlink, path + left)
        t(os.rmdir, "/".join([name] * level))


@like_a_plain_directory
def test_fifo(t):
    t(os.mkfifo, "fifo", 0o640)
    t.stat("fifo")

    def writer(_link):
        with open("fifo", "wb") as fifo:
            fifo.write(b"through the pipe")

    with Child(writer) as child:
        t.read("fifo")
        child.result()
    t(os.mkfifo, "fifo")
    t(os.unlink, "fifo")
    t.ls()


@like_a_plain_directory
def test_socket(t):
    with socket.socket(socket.AF_UNIX) as server, socket.socket(socket.AF_UNIX) as client:
        t(server.bind, "socket")
        t.stat("socket")
        t(client.connect, "socket")
        server.listen()
        t(client.connect, "socket")
        peer = server.accept()[0]
        t(client.send, b"hello")
        t(peer.recv, 10)
        peer.close()
    t(os.unlink, "socket")


@needs_root
@like_a_plain_directory
def test_device_nodes(t):
    t(os.mknod, "null", stat.S_IFCHR | 0o640, os.makedev(1, 3))
    t(os.mknod, "disk", stat.S_IFBLK | 0o600, os.makedev(259, 1000000))
    t.stat("null", "disk")
    t(os.mknod, "plain", stat.S_IFREG | 0o604, 0)
    t.stat("plain")
    t(os.mknod, "null", stat.S_IFREG | 0o604, 0)


@needs_root
@pytest.mark.parametrize("program", ["tmpfs", "passthroughfs"])
def test_device_nodes_work_with_the_option_dev(new_mount, program):
    mount = new_mount(program, "-o", "dev")
    null = os.path.join(mount.mountpoint, "null")
    os.mknod(null, stat.S_IFCHR | 0o600, os.makedev(1, 3))
    with open(null, "r+b", buffering=0) as file:
        assert file.write(b"gone") == 4
        assert file.read(10) == b""


def test_tmpfile_gets_a_name(fs):
    fd = os.open(fs.dir, os.O_TMPFILE | os.O_RDWR, 0o640)
    try:
        assert os.fstat(fd).st_nlink == 0
        assert os.listdir(fs.dir) == []
        os.write(fd, b"no name yet")
        kernel.link_fd(fd, fs.path("named"))
        assert os.fstat(fd).st_nlink == 1
    finally:
        os.close(fd)
    st = os.stat(fs.path("named"))
    assert (stat.S_IMODE(st.st_mode), st.st_nlink, st.st_size) == (0o640, 1, 11)
    with open(fs.path("named"), "rb") as file:
        assert file.read() == b"no name yet"


def test_tmpfile_opened_exclusively_gets_no_name(fs):
    fd = os.open(fs.dir, os.O_TMPFILE | os.O_RDWR | os.O_EXCL, 0o640)
    try:
        os.write(fd, b"never a name")
        assert os.pread(fd, 100, 0) == b"never a name"
        with pytest.raises(FileNotFoundError):
            kernel.link_fd(fd, fs.path("named"))
    finally:
        os.close(fd)
    assert os.listdir(fs.dir) == []


@like_a_plain_directory
def test_a_name_made_again_is_another_file(t):
    t.write("a", b"first")
    fd = t.open("a")
    t(os.unlink, "a")
    t.write("a", b"second")
    t.note("inode", os.fstat(fd).st_ino == os.stat("a").st_ino)
    t(os.pread, fd, 100, 0)
    t.read("a")
    t.close(fd)


def test_statfs_makes_sense(fs):
    st = os.statvfs(fs.dir)
    assert st.f_namemax == 255
    assert st.f_bsize > 0 and st.f_frsize > 0
    assert 0 < st.f_bavail <= st.f_bfree <= st.f_blocks
    assert 0 <= st.f_ffree <= st.f_files
    assert st.f_files > 0


def test_statfs_of_the_source(passthroughfs):
    here, there = os.statvfs(passthroughfs.dir), os.statvfs(passthroughfs.source)
    assert (here.f_blocks, here.f_frsize, here.f_files, here.f_namemax) == (
        there.f_blocks,
        there.f_frsize,
        there.f_files,
        there.f_namemax,
    )


def test_statfs_counts_what_is_written(tmpfs):
    before = os.statvfs(tmpfs.dir)
    with open(tmpfs.path("file"), "wb") as file:
        file.write(b"x" * 8_000_000)
        file.flush()
        os.fsync(file.fileno())
        after = os.statvfs(tmpfs.dir)
    used = (before.f_bfree - after.f_bfree) * before.f_frsize
    assert 7_000_000 < used < 10_000_000
    assert before.f_ffree - after.f_ffree in (0, 1)
    os.unlink(tmpfs.path("file"))


def test_a_whole_tree_is_copied_and_removed(fs):
    import shutil

    for level in range(3):
        for number in range(4):
            path = fs.path(*[f"dir{level}"] * (level + 1))
            os.makedirs(path, exist_ok=True)
            with open(f"{path}/file{number}", "wb") as file:
                file.write(os.urandom(5000 * number))
    shutil.copytree(fs.dir, fs.oracle, dirs_exist_ok=True)
    shutil.copytree(fs.oracle, fs.path("copy"))
    for root, _dirs, files in os.walk(fs.oracle):
        below = os.path.relpath(root, fs.oracle)
        for name in files:
            with open(os.path.join(root, name), "rb") as one, open(fs.path("copy", below, name), "rb") as two:
                assert one.read() == two.read()
    shutil.rmtree(fs.dir)
    assert not os.path.exists(fs.dir)
