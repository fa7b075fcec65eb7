# SPDX-License-Identifier: MIT
"""Whole files, and waiting for what others do to show."""

import time


def put(path, data=b""):
    with open(path, "wb") as file:
        file.write(data)


def get(path):
    with open(path, "rb") as file:
        return file.read()


def wait_until(condition, timeout_s=10, pause_s=0.02):
    """What is changed behind a mount's back shows soon, not at once."""
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the change does not show up"
        time.sleep(pause_s)
