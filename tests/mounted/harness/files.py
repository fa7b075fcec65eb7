# SPDX-License-Identifier: MIT
"""Whole files, what calls fail with, and waiting for what others do to show."""

import time


def put(path, data=b""):
    with open(path, "wb") as file:
        file.write(data)


def get(path):
    with open(path, "rb") as file:
        return file.read()


def error_of(function, *args):
    """The errno that a call fails with; None if it does not fail."""
    try:
        function(*args)
    except OSError as err:
        return err.errno
    return None


def wait_until(condition, timeout_s=10, pause_s=0.02):
    """What is changed behind a mount's back shows soon, not at once."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the change does not show up"
        time.sleep(pause_s)
