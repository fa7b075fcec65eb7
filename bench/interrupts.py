# SPDX-License-Identifier: MIT
"""
A signal that asks us to stop becomes an exception, which unwinds and takes everything down.  It must not
come between the start of a program and our knowing of it: that part holds signals back.
"""

import contextlib
import signal

from harness import kernel

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Interrupted(BaseException):
    """Its argument is the number of the signal."""


def install():
    for number in SIGNALS:
        signal.signal(number, _interrupt)


def _interrupt(number, _frame):
    # Once is enough: the way down is not to be interrupted.
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Interrupted(number)


@contextlib.contextmanager
def held_back():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def before_exec():
    """In a program that is about to start: it ends with us, however we end, and has the usual signals."""
    kernel.die_with_parent(signal.SIGKILL)
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
