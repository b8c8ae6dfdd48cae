"""Each protection of processes that strangers' code runs in: what it refuses to code that took the process over."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from sandbox.confinement import confine_thread, describe_protections
from tests.conftest import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="what Linux alone has")

PROTECTIONS = " ".join(describe_protections())
needs_landlock = pytest.mark.skipif("Landlock" not in PROTECTIONS, reason="this kernel has no Landlock")
needs_seccomp = pytest.mark.skipif("seccomp" not in PROTECTIONS, reason="this kernel has no seccomp")

INTRUDER = """
import ctypes, json, os, signal, socket, sys
from sandbox import confinement

libc = ctypes.CDLL(None, use_errno=True)
secret, target, port = sys.argv[1], sys.argv[2], int(sys.argv[3])
listening = socket.socket()

def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)  # errno picks the class

def execute():
    try:
        call("execv", b"/nowhere/at/all", (ctypes.c_char_p * 2)(b"all", None))
    except FileNotFoundError:
        pass  # nobody refused to look for it

acts = {
    "read_file": lambda: open(secret).read(),
    "read_descriptor": lambda: os.read(secret_descriptor, 1),
    "write_file": lambda: os.close(os.open(target, os.O_WRONLY | os.O_CREAT)),
    "append_file": lambda: os.open(secret, os.O_WRONLY | os.O_APPEND),
    "truncate_file": lambda: os.truncate(secret, 0),
    "list_folder": lambda: os.listdir("/"),
    "make_folder": lambda: os.mkdir(target),
    "remove_file": lambda: os.unlink(secret),
    "link_file": lambda: os.symlink(secret, target),
    "parents_environment": lambda: open(f"/proc/{parent}/environ").read(),
    "own_memory": lambda: open("/proc/self/mem", "r+b"),
    "socket": lambda: socket.socket(),
    "unix_socket": lambda: socket.socket(socket.AF_UNIX),
    "connect": lambda: listening.connect(("127.0.0.1", port)),
    "fork": lambda: os.fork() or os._exit(0),
    "exec": lambda: execute(),
    "signal_parent": lambda: os.kill(parent, 0),
    "trace_parent": lambda: call("ptrace", 0x4206, parent, 0, 0),
    "read_parents_memory": lambda: call("process_vm_readv", parent, 0, 0, 0, 0, 0),
    "new_namespace": lambda: call("unshare", 0x10000000),
    "io_uring": lambda: call("syscall", 425, 1, 0),
    "raise_limit": lambda: __import__("resource").setrlimit(7, (64, 64)),
    "limit_parent": lambda: resource.prlimit(parent, resource.RLIMIT_CORE, (0, 0)),
    "memory": lambda: bytearray(200 << 20),
}
import resource
parent = os.getpid()
secret_descriptor = os.open(secret, os.O_RDONLY)
reading, writing = os.pipe()
if os.fork() == 0:
    PREPARE
    refused = {}
    for name, act in acts.items():
        try:
            act()
        except (OSError, ValueError, MemoryError) as error:
            refused[name] = type(error).__name__
    os.write(writing, json.dumps(refused).encode())
    os._exit(0)
os.close(writing)
print(os.read(reading, 1 << 16).decode())
"""


def intrude(folder: Path, prepare: str) -> set[str]:
    """Return which acts are refused to a process after what prepares it."""
    secret, target = folder / "secret", folder / "target"
    secret.write_text("secret")
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
        done = subprocess.run(
            [sys.executable, "-c", INTRUDER.replace("PREPARE", prepare), str(secret), str(target), port],
            capture_output=True,
            text=True,
            cwd=ROOT,
            check=False,
        )
    assert done.stdout, done.stderr
    return set(json.loads(done.stdout))


FILES = {
    "read_file",
    "write_file",
    "append_file",
    "list_folder",
    "make_folder",
    "remove_file",
    "link_file",
    "parents_environment",
    "own_memory",
}


def test_a_process_that_is_not_confined_may_do_all_that(tmp_path: Path) -> None:
    refused = intrude(tmp_path, "pass")
    assert not refused & (FILES - {"make_folder", "link_file", "parents_environment"} | {"socket", "connect", "fork"})
    assert not refused & {"read_descriptor", "signal_parent", "memory"}


def test_a_confined_process_may_do_none_of_it(tmp_path: Path) -> None:
    refused = intrude(tmp_path, "confinement.confine(1, 64 << 20, writing)")
    wanted = {line.split('"')[1] for line in INTRUDER.splitlines() if line.startswith('    "')}
    if "seccomp" not in PROTECTIONS:
        wanted -= {"fork", "exec", "signal_parent", "trace_parent", "read_parents_memory", "new_namespace"}
        wanted -= {"limit_parent"}
    assert wanted - refused == set()


@needs_landlock
def test_landlock_alone_refuses_files_and_signals(tmp_path: Path) -> None:
    prepare = "confinement.guard_process(dies_with_parent=True); confinement._apply_landlock()"
    refused = intrude(tmp_path, prepare)
    assert refused >= FILES
    if int(PROTECTIONS.split("ABI ")[1].split(")")[0]) >= 6:
        assert refused >= {"connect", "signal_parent", "trace_parent"}


@needs_seccomp
def test_seccomp_alone_refuses_whatever_is_not_computing(tmp_path: Path) -> None:
    refused = intrude(tmp_path, "confinement.guard_process(dies_with_parent=True); confinement._apply_seccomp()")
    wanted = FILES | {"socket", "unix_socket", "connect", "fork", "exec", "signal_parent", "trace_parent"}
    assert refused >= wanted | {"read_parents_memory", "new_namespace", "io_uring", "raise_limit"}


@needs_landlock
@needs_seccomp
def test_a_thread_that_starts_programs_may_do_nothing_else(tmp_path: Path) -> None:
    refused = intrude(tmp_path, "from pathlib import Path; confinement.confine_thread(Path('/bin/cat'))")
    assert refused >= FILES | {"socket", "unix_socket", "connect", "signal_parent", "limit_parent"}
    assert refused >= {"trace_parent", "read_parents_memory", "new_namespace", "io_uring"}


@needs_landlock
def test_a_program_reads_no_file_and_starts_no_other_if_the_thread_that_starts_it_is_confined(tmp_path: Path) -> None:
    secret, program = tmp_path / "secret", tmp_path / "program"
    secret.write_text("secret")
    shutil.copy(Path("/bin/sh").resolve(), program)
    script = f"read line <{secret}; echo $line; /bin/echo started; echo here"

    def run() -> list[str]:
        command = [str(program), "-c", script]
        return subprocess.run(command, capture_output=True, text=True, check=False).stdout.split()

    with ThreadPoolExecutor(1, initializer=confine_thread, initargs=(program,)) as confined:
        assert confined.submit(run).result() == ["here"]
    assert run() == ["secret", "started", "here"]


def test_the_limits_alone_refuse_files_and_growth(tmp_path: Path) -> None:
    prepare = "confinement._apply_landlock = confinement._apply_seccomp = lambda: None\n"
    refused = intrude(tmp_path, prepare + "    confinement.confine(1, 64 << 20, writing)")
    assert refused >= {"read_file", "read_descriptor", "write_file", "socket", "memory", "parents_environment"}


def test_the_protections_of_this_machine_are_named() -> None:
    assert all(name.startswith(("Landlock (ABI ", "seccomp")) for name in describe_protections())
