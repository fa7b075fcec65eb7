# SPDX-License-Identifier: MIT
"""The example that the README shows: a whole file system in a page."""

import os
import signal

import pytest

from conftest import TOP
from harness import mounts


@pytest.mark.parametrize("how", [signal.SIGTERM, "umount"])
def test_the_example_works(new_mount, transport, how):
    mount = new_mount("hello", *transport.options)
    assert os.listdir(mount.mountpoint) == ["hello"]
    with open(os.path.join(mount.mountpoint, "hello"), "rb") as file:
        assert file.read() == b"Hello, world!\n"
    with pytest.raises(FileNotFoundError):
        os.stat(os.path.join(mount.mountpoint, "goodbye"))
    assert mounts.mount_at(mount.mountpoint).fstype == "fuse.hello"
    mount.stop(how)


def test_the_example_is_a_page():
    with open(os.path.join(TOP, "examples", "hello.c"), encoding="utf-8") as file:
        assert len(file.readlines()) <= 60


def test_the_readme_quotes_the_example():
    with open(os.path.join(TOP, "examples", "hello.c"), encoding="utf-8") as file:
        text = file.read().split("\n", 1)[1]  # behind the licence
    with open(os.path.join(TOP, "README.md"), encoding="utf-8") as file:
        assert text in file.read()
