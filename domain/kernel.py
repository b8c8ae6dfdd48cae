"""What a process asks of the kernel about itself. Imports nothing of the service: the smallest processes use it."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

LIBC = ctypes.CDLL(None, use_errno=True)
"""Loaded at import, since between fork and exec nothing may be."""

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE = 4
_PR_SET_SECCOMP = 22
_PR_SET_NO_NEW_PRIVS = 38
_SECCOMP_MODE_FILTER = 2


def close_memory() -> None:
    """Keep other processes of the same user from reading this one's memory and environment; write no core dump (Linux).

    Raises:
        OSError: the kernel refuses it.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_DUMPABLE, 0)


def end_with_parent(number: signal.Signals = signal.SIGKILL) -> None:
    """Have this process get a signal when the thread that started it ends (Linux).

    Raises:
        OSError: the kernel refuses it.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_PDEATHSIG, number)


def renounce_privileges() -> None:
    """Let no program that this thread executes gain rights (Linux).

    Raises:
        OSError: the kernel refuses it.
    """
    if sys.platform == "linux":
        _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def filter_calls(header: ctypes.Array[ctypes.c_char]) -> None:
    """Filter the system calls of this thread from now on (Linux).

    Args:
        header: a ``struct sock_fprog``.

    Raises:
        OSError: the kernel refuses it.
    """
    _prctl(_PR_SET_SECCOMP, _SECCOMP_MODE_FILTER, header)


def check(result: int) -> int:
    """Return what a function of `LIBC` returned.

    Args:
        result: negative if it failed.

    Raises:
        OSError: it failed.
    """
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _prctl(option: int, value: int, program: ctypes.Array[ctypes.c_char] | None = None) -> None:
    zero = ctypes.c_ulong(0)
    check(LIBC.prctl(option, ctypes.c_ulong(value), program or zero, zero, zero))
