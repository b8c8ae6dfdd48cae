"""What a process gives up before it runs untrusted code.

Everywhere: growth, CPU time, processes, files. On Linux: whatever Landlock and seccomp take as well. Both are called
directly: a ruleset with hardly a rule is a few system calls, and a list of allowed calls one small program.
"""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import resource
import struct
import sys
from pathlib import Path

from domain import kernel

_LANDLOCK_CREATE_RULESET = 444
_LANDLOCK_ADD_RULE = 445
_LANDLOCK_RESTRICT_SELF = 446
_LANDLOCK_EXECUTE = 1
_LANDLOCK_READ_FILE = 4

_LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache")
"""What the loader reads and maps for a program."""

_ALLOWED_CALLS: dict[str, tuple[int | None, int | None]] = {
    # x86_64, aarch64
    "read": (0, 63),
    "write": (1, 64),
    "close": (3, 57),
    "fstat": (5, 80),
    "lseek": (8, 62),
    "mmap": (9, 222),
    "mprotect": (10, 226),
    "munmap": (11, 215),
    "brk": (12, 214),
    "rt_sigaction": (13, 134),
    "rt_sigprocmask": (14, 135),
    "rt_sigreturn": (15, 139),
    "sched_yield": (24, 124),
    "mremap": (25, 216),
    "madvise": (28, 233),
    "nanosleep": (35, 101),
    "getpid": (39, 172),
    "exit": (60, 93),
    "getrusage": (98, 165),
    "sigaltstack": (131, 132),
    "gettid": (186, 178),
    "futex": (202, 98),
    "sched_getaffinity": (204, 123),
    "restart_syscall": (219, 128),
    "clock_gettime": (228, 113),
    "clock_nanosleep": (230, 115),
    "exit_group": (231, 94),
    "getrandom": (318, 278),
}
_STARTING_CALLS: dict[str, tuple[int | None, int | None]] = {
    # a program by a thread of another, and as many as both need until the program runs
    "poll": (7, None),
    "pread64": (17, 67),
    "writev": (20, 66),
    "access": (21, None),
    "dup2": (33, None),
    "clone": (56, 220),
    "vfork": (58, None),
    "execve": (59, 221),
    "wait4": (61, 260),
    "uname": (63, 160),
    "fcntl": (72, 25),
    "getcwd": (79, 17),
    "readlink": (89, None),
    "sysinfo": (99, 179),
    "getuid": (102, 174),
    "getgid": (104, 176),
    "geteuid": (107, 175),
    "getegid": (108, 177),
    "prctl": (157, 167),
    "arch_prctl": (158, None),
    "set_tid_address": (218, 96),
    "epoll_wait": (232, None),
    "epoll_ctl": (233, 21),
    "waitid": (247, 95),
    "openat": (257, 56),
    "newfstatat": (262, 79),
    "readlinkat": (267, 78),
    "faccessat": (269, 48),
    "ppoll": (271, 73),
    "set_robust_list": (273, 99),
    "epoll_pwait": (281, 22),
    "dup3": (292, 24),
    "pipe2": (293, 59),
    "statx": (332, 291),
    "rseq": (334, 293),
    "pidfd_open": (434, 434),
    "clone3": (435, 435),
    "close_range": (436, 436),
}
_PRLIMIT = (302, 261)
"""Allowed to a program on itself: it would also change other processes of the same user."""

_ARCHITECTURES = {"x86_64": (0, 0xC000003E), "aarch64": (1, 0xC00000B7)}
"""Column of the table, and the number by which the kernel knows the architecture."""

_MAX_DESCRIPTORS = 256


def describe_protections() -> tuple[str, ...]:
    """Name what this kernel adds to the limits of a process, such as ``Landlock (ABI 7)`` and ``seccomp``."""
    abi = _landlock_abi()
    landlock = (f"Landlock (ABI {abi})",) if abi else ()
    return landlock + (("seccomp",) if _has_seccomp() else ())


def guard_process(*, dies_with_parent: bool) -> None:
    """Let no other process look into this one, and none that it starts gain rights."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    kernel.close_memory()
    kernel.renounce_privileges()
    if dies_with_parent:
        kernel.end_with_parent()


def confine(seconds: float, memory_bytes: int, keep: int) -> None:
    """Give up files, network, processes and signals for good, and growth beyond a limit.

    The process must have one thread, and have imported all that it needs. It ends when its parent does (Linux).

    Args:
        seconds: of CPU time; two more are allowed, since the process that watches the deadline comes first.

    Raises:
        OSError: the kernel has a protection and refuses it.
        ValueError: a limit is already lower and may not be raised.
    """
    guard_process(dies_with_parent=True)
    os.closerange(0, keep)
    os.closerange(keep + 1, _MAX_DESCRIPTORS)
    limits = {
        resource.RLIMIT_CPU: int(seconds) + 2,
        resource.RLIMIT_FSIZE: 0,
        resource.RLIMIT_NPROC: 0,
        resource.RLIMIT_NOFILE: 0,
    }
    if sys.platform == "linux":  # macOS refuses to limit the address space
        limits[resource.RLIMIT_AS] = _address_space() + memory_bytes
    seccomp = _has_seccomp()
    _apply_landlock()
    for limit, value in limits.items():
        resource.setrlimit(limit, (value, value))
    if seccomp:
        _apply_seccomp()


def confine_thread(program: Path) -> None:
    """Confine this thread, and so every process and thread that it starts, to starting a program and computing.

    On Linux, as far as the kernel has Landlock and seccomp; other threads keep what they may. What a started program
    keeps beyond its descriptors is read access to the system's libraries, until its limits allow no descriptor.

    Args:
        program: the only one beside the system's libraries that can be executed.

    Raises:
        OSError: the kernel has a protection and refuses it.
    """
    if sys.platform != "linux":
        return
    kernel.renounce_privileges()
    seccomp = _has_seccomp()
    _apply_landlock(program, *map(Path, _LIBRARIES))
    if seccomp:
        _apply_seccomp(starts_program=True)


def is_confined(pid: int) -> bool:
    """Return whether a process runs under a filter of system calls, or none is to be had."""
    if not _has_seccomp():
        return True
    return "\nSeccomp:\t2\n" in Path(f"/proc/{pid}/status").read_text()


def _address_space() -> int:
    return int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()


def _landlock_abi() -> int:
    if sys.platform != "linux":
        return 0
    version: int = kernel.LIBC.syscall(_LANDLOCK_CREATE_RULESET, None, ctypes.c_size_t(0), 1)
    return max(version, 0)


def _apply_landlock(*readable: Path) -> None:
    """Give up all files but those that may be read and executed, ports, and other processes."""
    abi = _landlock_abi()
    if not abi:
        return
    files = 0x1FFF | (abi >= 2) << 13 | (abi >= 3) << 14 | (abi >= 5) << 15  # noqa: PLR2004 - rights by version
    rights = struct.pack("=QQQ", files, 3, 3)  # ports to bind and connect; abstract sockets and signals
    size = 24 if abi >= 6 else 16 if abi >= 4 else 8  # noqa: PLR2004 - as above
    ruleset = kernel.check(kernel.LIBC.syscall(_LANDLOCK_CREATE_RULESET, rights, ctypes.c_size_t(size), 0))
    for path in readable:
        _allow_reading(ruleset, path)
    kernel.check(kernel.LIBC.syscall(_LANDLOCK_RESTRICT_SELF, ruleset, 0))
    os.close(ruleset)


def _allow_reading(ruleset: int, path: Path) -> None:
    try:
        place = os.open(path, os.O_PATH)
    except FileNotFoundError:  # systems keep their libraries in different places
        return
    rule = struct.pack("=Qi", _LANDLOCK_EXECUTE | _LANDLOCK_READ_FILE, place)
    kernel.check(kernel.LIBC.syscall(_LANDLOCK_ADD_RULE, ruleset, 1, rule, 0))
    os.close(place)


def _has_seccomp() -> bool:
    return platform.machine() in _ARCHITECTURES and Path("/proc/sys/kernel/seccomp/actions_avail").exists()


def _apply_seccomp(*, starts_program: bool = False) -> None:
    """Refuse all system calls but some."""
    column, architecture = _ARCHITECTURES[platform.machine()]
    calls = (_ALLOWED_CALLS | _STARTING_CALLS) if starts_program else _ALLOWED_CALLS
    numbers = [number for call in calls.values() if (number := call[column]) is not None]
    on_itself = [
        (0x15, 0, 2, _PRLIMIT[column]),
        (0x20, 0, 0, 16),  # load which process it is about
        (0x15, 1, 0, 0),
    ]
    rest = on_itself if starts_program else []
    refusal = errno.ENOSYS if starts_program else errno.EPERM  # the former lets libraries try an older call
    program = [
        (0x20, 0, 0, 4),  # load the architecture
        (0x15, 1, 0, architecture),
        (0x06, 0, 0, 0x80000000),  # another one: kill the process
        (0x20, 0, 0, 0),  # load the number of the call
        *((0x15, len(numbers) - index + len(rest), 0, number) for index, number in enumerate(numbers)),
        *rest,
        (0x06, 0, 0, 0x00050000 | refusal),
        (0x06, 0, 0, 0x7FFF0000),  # allow
    ]
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in program))
    header = struct.pack("@HP", len(program), ctypes.addressof(code))
    kernel.filter_calls(ctypes.create_string_buffer(header))
