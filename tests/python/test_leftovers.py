# SPDX-License-Identifier: Apache-2.0
"""What an import may leave behind is seen, each kind; each in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

LOOK = """
import json, os, sys
from zk_executor.worker import import_watch, leftovers
{before}
with import_watch.watched() as watch:
    state = leftovers.State()
    {code}
    print(json.dumps([*leftovers.State().since(state), watch.made]))
    sys.stdout.flush()
    os._exit(0)
"""
KINDS = {
    "nothing": ("pass", "", ""),
    "modules": ("import decimal, sqlite3, http.client", "", ""),
    "a thread of Python": (
        "import threading; threading.Thread(target=threading.Event().wait).start()",
        "threads",
        "python",
    ),
    "a thread of native code": (
        "import ctypes; t = ctypes.c_ulong(); c = ctypes.CDLL(None);"
        " c.pthread_create(ctypes.byref(t), None, c.pause, None)",
        "threads",
        "python",
    ),
    "a thread that has ended": (
        "import threading; t = threading.Thread(target=int); t.start(); t.join()",
        "",
        "",
    ),
    "a socket": ("import socket; s = socket.socket()", "descriptors", "socket:"),
    "a file": ("f = open('/proc/self/status')", "descriptors", "/status"),
    "a file that is closed again": ("open('/proc/self/status').close()", "", ""),
    "an event descriptor": (
        "import ctypes; ctypes.CDLL(None).eventfd(0, 0)", "descriptors", "eventfd",
    ),
    "another file in place of one": (
        "os.dup2(os.open('/proc/self/status', os.O_RDONLY), 0)", "descriptors", "/status",
    ),
    "a child": (
        "import subprocess; c = subprocess.Popen(['sleep', '60'], stdout=2)",
        "children",
        "processes",
    ),
    "a child that has ended": ("import subprocess; subprocess.run(['true'])", "", ""),
    "a finalizer": (
        "import weakref; T = type('T', (), {}); t = T(); weakref.finalize(t, int)",
        "finalizers",
        "taken away",
    ),
    "a finalizer of multiprocessing": (
        "import multiprocessing.util as u; u.Finalize(None, int, exitpriority=1)",
        "finalizers",
        "taken away",
    ),
    "a signal handler": (
        "import signal; signal.signal(signal.SIGUSR1, print)", "state", "signals",
    ),
    "a signal that is blocked": (
        "import signal; signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])",
        "state",
        "signal mask",
    ),
    "an alarm": ("import signal; signal.alarm(3600)", "state", "alarm"),
    "a locale": (
        "import locale; locale.setlocale(locale.LC_NUMERIC, 'C.UTF-8')", "state", "locale",
    ),
    "a working directory": ("os.chdir('/tmp')", "state", "working directory"),
    "a umask": ("os.umask(0o177)", "state", "umask"),
    "an exception hook": ("sys.excepthook = print", "state", "exception hook"),
    "an exception hook of threads": (
        "import threading; threading.excepthook = print", "state", "exception hook",
    ),
    "a hook for what can't be raised": ("sys.unraisablehook = print", "state", "exception hook"),
    "a stream": ("import io; sys.stderr = io.StringIO()", "state", "standard streams"),
    "a profiler": ("sys.setprofile(lambda *a: None)", "state", "trace function"),
    "a class of loggers": (
        "import logging; logging.setLoggerClass(type('L', (logging.Logger,), {}))",
        "state",
        "logging",
    ),
}  # fmt: skip


def look(code: str, before: str = "") -> tuple[str, str, list[str]]:
    done = subprocess.run(
        [sys.executable, "-c", LOOK.format(code=code, before=before)],
        stdout=subprocess.PIPE,
        check=True,
        text=True,
        cwd="/",
    )
    reason, detail, made = json.loads(done.stdout)
    return reason, detail, made


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_left_behind_has_its_reason(kind: str) -> None:
    code, expected, part = KINDS[kind]
    reason, detail, _ = look(code)
    assert (reason, part in detail) == (expected, True), detail


@pytest.mark.parametrize(
    "code",
    [
        "import tempfile; f = tempfile.mkstemp()[1]; print(f, file=sys.stderr)",
        "import tempfile; f = tempfile.mkdtemp()",
        "import tempfile; f = tempfile.TemporaryDirectory()",
        "import tempfile; f = tempfile.NamedTemporaryFile()",
        "import tempfile; f = tempfile.mkdtemp(); os.makedirs(f + '/a/b')",
    ],
)
def test_files_and_folders_that_are_made_are_told(code: str) -> None:
    _, _, made = look(code)
    try:
        assert made
        assert all(os.path.isabs(path) for path in made)
    finally:
        for path in sorted(made, reverse=True):
            if os.path.isdir(path):
                os.rmdir(path)
            elif os.path.exists(path):
                os.unlink(path)


def test_folder_of_bytecode_is_no_file_that_was_made(tmp_path) -> None:
    (tmp_path / "module.py").touch()
    code = f"sys.path.insert(0, {str(tmp_path)!r}); sys.dont_write_bytecode = False; import module"
    assert look(code) == ("", "", [])
    assert (tmp_path / "__pycache__").is_dir()


@pytest.mark.parametrize(
    "library",
    ["numpy", "pandas", "pyarrow", "pyarrow.parquet", "psycopg2", "grpc"],
)
def test_import_of_a_much_used_library_leaves_nothing_behind(library: str) -> None:
    """Or their files would have no warm processes; what threads they have are the exceptions."""
    assert look(f"import {library}") == ("", "", [])


def test_polars_starts_a_thread_when_it_is_imported() -> None:
    """So each task imports it itself: what the thread would do is not done in a fork."""
    reason, detail, _ = look("import polars")
    assert (reason, "polars" in detail) == ("threads", True), detail


def test_threads_of_openblas_are_there_and_end_before_a_fork() -> None:
    """The exception for OpenBLAS rests on this."""
    count = "len(os.listdir('/proc/self/task'))"
    code = (
        "import numpy\n"
        "a = numpy.ones((400, 400)); a @ a\n"
        f"before = {count}\n"
        "r, w = os.pipe()\n"
        "if os.fork() == 0:\n"
        f"    first = {count}\n"
        "    total = float((a @ a).sum())\n"
        f"    os.write(w, json.dumps([first, total, {count}]).encode())\n"
        "    os._exit(0)\n"
        "os.wait()\n"
        "print(json.dumps([before, *json.loads(os.read(r, 99))]))\n"
    )
    code = "import json, os, sys\n" + code
    done = subprocess.run(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env={**os.environ, "OPENBLAS_NUM_THREADS": "2"},
        check=True,
        text=True,
    )
    before, in_child, total, afterwards = json.loads(done.stdout)
    assert (before, in_child, total, afterwards) == (2, 1, 400.0**3, 2)


def test_arrow_works_in_a_fork_without_the_thread_of_its_allocator() -> None:
    """The exception for jemalloc's thread rests on this."""
    code = (
        "import os, pyarrow as pa, pyarrow.compute\n"
        "def work():\n"
        "    for _ in range(50):\n"
        "        t = pa.table({'a': list(range(50_000))})\n"
        "        assert pa.compute.sum(t['a']).as_py() == 1249975000\n"
        "    t.group_by('a', use_threads=True).aggregate([('a', 'sum')])\n"
        "pid = os.fork()\n"
        "if pid == 0:\n"
        "    try:\n"
        "        work()\n"
        "    except BaseException:\n"
        "        os._exit(1)\n"
        "    os._exit(0)\n"
        "raise SystemExit(os.waitpid(pid, 0)[1])\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
