# SPDX-License-Identifier: Apache-2.0
"""Warm processes: what may be imported ahead, and that a change is seen by the next task."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import sys
import time
from pathlib import Path

import pytest
from supervised import Supervised

from devstack.processes import is_running, wait_until

DAG = """
{top}
import os
from airflow.sdk import DAG, task
with DAG("d"):
    @task
    def say():
        print("from", open(f"/proc/{{os.getppid()}}/cmdline").read().replace(chr(0), " "))
        {body}
    say()
"""
SITE = """
import os
import site

site.PREFIXES.append(os.environ["WARM_TESTS_PREFIX"])
site.addsitedir(os.environ["WARM_TESTS_PACKAGES"])
"""
# Nothing waits so long unless something is wrong, or the machine busy with other things.
SETTLE_TIMEOUT_S = 60
# Worth a process: shorter imports are not.
TAKES_A_MOMENT = "TOTAL = sum(range(3_000_000))\n"
# Standard input of a task is the channel to its supervisor.
IN_TASK = "import os, stat\nIN_TASK = stat.S_ISSOCK(os.fstat(0).st_mode)\n"
# By the name of the module: its source, the reason for which it is not imported ahead, and part of
# the detail.
UNFIT = {
    "cannot": (IN_TASK + "if not IN_TASK: import nothing_of_this_name", "error", "ModuleNotFound"),
    "raises": (IN_TASK + "if not IN_TASK: 1 / 0", "error", "ZeroDivisionError"),
    "exits": (IN_TASK + "if not IN_TASK: raise SystemExit(0)", "error", "SystemExit"),
    "interrupts": (IN_TASK + "if not IN_TASK: raise KeyboardInterrupt", "error", "KeyboardInter"),
    "ends": (IN_TASK + "if not IN_TASK: os._exit(0)", "died", ""),
    "crashes": (IN_TASK + "if not IN_TASK: os.kill(os.getpid(), 11)", "died", ""),
    "hangs": (IN_TASK + "if not IN_TASK: os.read(os.pipe()[0], 1)", "timeout", ""),
    "prints": ("print('words of a module')", "output", "words of a module"),
    "writes": ("import os\nos.write(2, b'words of a module')", "output", "words of a module"),
    "patches": (
        "import socket\nclass Patched(socket.socket):\n    pass\nsocket.socket = Patched",
        "patched",
        "socket.socket",
    ),
    "sets_timeout": ("import socket\nsocket.setdefaulttimeout(2)", "state", "default timeout"),
    "shares_lock": (
        "import multiprocessing\nLOCK = multiprocessing.get_context('fork').Lock()",
        "shared_memory",
        "",
    ),
    "shares_memory": ("import mmap\nM = mmap.mmap(-1, 4096)", "shared_memory", ""),
    "minds_forks": (
        "import os\nos.register_at_fork(after_in_child=lambda: None)",
        "fork_hooks",
        "lambda",
    ),
    "has_generator": ("import random\nR = random.Random()", "random", "random.Random"),
    "has_numpys": (
        "import numpy\nR = numpy.random.default_rng()",
        "random",
        "Generator",
    ),
    "seeds": ("import random\nrandom.seed(7)", "random", "Python's global"),
    "seeds_numpy": ("import numpy\nnumpy.random.seed(42)", "random", "numpy's global"),
    "lacks_name": (IN_TASK + "if not IN_TASK: from json import NOT_THERE", "error", "NOT_THERE"),
    "appends": (
        "import os\nwith open(os.environ['WARM_TESTS_PREFIX'] + '/appended', 'a') as f:\n"
        "    f.write('x')",
        "files",
        "appended",
    ),
    "daemonises": (
        "import os, subprocess\nif not os.environ.get('_WARM_ONCE'):\n"
        "    os.environ['_WARM_ONCE'] = '1'\n"
        "    subprocess.run('sleep 5 > /dev/null 2>&1 &', shell=True)",
        "children",
        "",
    ),
    "logs": (
        "import logging\nlogging.getLogger('m').warning('words of a module')",
        "output",
        "words of a module",
    ),
    "structlogs": (
        "import structlog\nstructlog.get_logger('m').info('words of a module')",
        "output",
        "words of a module",
    ),
    "asks": (
        "from airflow.sdk import Variable\nWORD = Variable.get('word', default=None)",
        "request",
        "GetVariable",
    ),
    "asks_in_vain": (
        "from airflow.sdk import Connection\ntry: Connection.get('x')\nexcept Exception: pass",
        "request",
        "GetConnection",
    ),
    "threads": (
        "import threading\nthreading.Thread(target=threading.Event().wait, daemon=True).start()",
        "threads",
        "",
    ),
    "native_threads": (
        "import ctypes\nTHREAD = ctypes.c_ulong()\nLIBC = ctypes.CDLL(None)\n"
        "LIBC.pthread_create(ctypes.byref(THREAD), None, LIBC.pause, None)",
        "threads",
        "",
    ),
    "connects": ("import socket\nPAIR = socket.socketpair()", "descriptors", "socket:"),
    "opens": ("FILE = open('/proc/self/status')", "descriptors", "/status"),
    "pipes": ("import os\nENDS = os.pipe()", "descriptors", "pipe:"),
    "forks": (
        IN_TASK + "import signal\nif not IN_TASK:\n"
        "    CHILD = os.fork()\n"
        "    if CHILD == 0:\n"
        "        signal.pause()\n"
        "    with open(os.environ['WARM_TESTS_PREFIX'] + '/child', 'w') as file:\n"
        "        file.write(str(CHILD))",
        "children",
        "processes",
    ),
    "makes_folder": (
        IN_TASK + "import tempfile\nFOLDER = tempfile.TemporaryDirectory()\n"
        "if not IN_TASK:\n"
        "    with open(os.environ['WARM_TESTS_PREFIX'] + '/folder', 'w') as file:\n"
        "        file.write(FOLDER.name)",
        "finalizers",
        "",
    ),
    "makes_file": (
        "import os, tempfile\nFD, FILE = tempfile.mkstemp()\nos.close(FD)",
        "files",
        "/",
    ),
    "makes_folders": ("import tempfile\nFOLDER = tempfile.mkdtemp()", "files", "/"),
    "finalizes": (
        "import weakref\nclass T: pass\nT = T()\nF = weakref.finalize(T, int)",
        "finalizers",
        "",
    ),
    "handles": (
        "import signal\nsignal.signal(signal.SIGUSR2, lambda *_: None)",
        "state",
        "signals",
    ),
    "blocks": (
        "import signal\nsignal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR2])",
        "state",
        "signal mask",
    ),
    "alarms": ("import signal\nsignal.alarm(3600)", "state", "alarm"),
    "speaks": (
        "import locale\nlocale.setlocale(locale.LC_NUMERIC, 'C.UTF-8')",
        "state",
        "locale",
    ),
    "hooks": ("import sys\nsys.excepthook = lambda *_: None", "state", "exception hook"),
    "moves": ("import os\nos.chdir('/')", "state", "working directory"),
    "masks": ("import os\nos.umask(0o077)", "state", "umask"),
    "traces": ("import sys\nsys.setprofile(lambda *_: None)", "state", "trace function"),
    "replaces": (
        "import sys\n"
        "class Stream:\n"
        "    def __init__(self, inner): self.inner = inner\n"
        "    def __getattr__(self, name): return getattr(self.inner, name)\n"
        "sys.stdout = Stream(sys.stdout)",
        "state",
        "streams",
    ),
    "records": (
        "import logging\nlogging.setLogRecordFactory(lambda *a, **k: logging.LogRecord(*a, **k))",
        "state",
        "logging",
    ),
}
# Whose tasks say what the module does, each one.
SAID_BY_TASK = ("prints", "writes", "logs", "structlogs")
IMPORT_TIMEOUT_S = 1


class Installation:
    """Packages beside those of the tests, in a prefix of their own."""

    def __init__(self, folder: Path) -> None:
        version = f"python{sys.version_info.major}.{sys.version_info.minor}"
        self.prefix = folder / "prefix"
        self.packages = self.prefix / "lib" / version / "site-packages"
        self.packages.mkdir(parents=True)
        start = folder / "start"
        start.mkdir()
        (start / "sitecustomize.py").write_text(SITE)
        self.variables = {
            "PYTHONPATH": str(start),
            "WARM_TESTS_PREFIX": str(self.prefix),
            "WARM_TESTS_PACKAGES": str(self.packages),
        }

    def module(self, name: str, text: str = "") -> None:
        write(self.packages / f"{name}.py", text + "\n")


def write(path: Path, text: str, *, age_s: float = 100.0) -> None:
    """Write a file as it would have been some time ago: its bytecode is not of the same second."""
    path.write_text(text)
    then = time.time() - age_s
    os.utime(path, (then, then))


def dag(body: str = "pass", top: str = "") -> str:
    return DAG.format(top=top, body=body)


def settle(supervised: Supervised, file: str = "dag.py") -> list[str]:
    """Run the task until it is forked from its warm process; what it said then."""
    deadline = time.monotonic() + SETTLE_TIMEOUT_S
    while time.monotonic() < deadline:
        ended = supervised.run("say", file)
        assert ended.outcome == "success", (ended.info, ended.path.read_text())
        if supervised.forked_from()[-1] == "warm":
            return ended.events
    raise AssertionError(f"no warm process for {file}\n{supervised.said()[-3000:]}")


def imported_ahead(events: list[str]) -> list[str]:
    """The modules in the title of the process of which a task was forked."""
    (line,) = (event for event in events if event.startswith("from "))
    title, _, names = line.removeprefix("from ").partition(" --")
    assert title == "zk-worker warm", line
    return names.split()


def lines(supervised: Supervised, *parts: str) -> list[str]:
    return [line for line in supervised.said().splitlines() if all(part in line for part in parts)]


@contextlib.contextmanager
def started(folder: Path, **options: object):
    installation = Installation(folder)
    for name in ("moment", "other"):
        installation.module(name, TAKES_A_MOMENT)
    with Supervised(folder, variables=installation.variables, **options) as supervised:
        supervised.installation = installation
        yield supervised


@pytest.fixture
def supervised(tmp_path, folder):
    with started(tmp_path) as one:
        yield one


@pytest.fixture(scope="module")
def unfit(tmp_path_factory, folder):
    """One worker for all modules that may not be imported ahead; each has a DAG file."""
    home = tmp_path_factory.mktemp("unfit")
    options = {"AIRFLOW__CORE__DAGBAG_IMPORT_TIMEOUT": IMPORT_TIMEOUT_S}
    with started(home, **options) as supervised:
        for name, (source, _, _) in UNFIT.items():
            supervised.installation.module(f"m_{name}", source)
            top = f"import moment\nimport m_{name}\nimport other"
            write(supervised.dags / f"{name}.py", dag("print('ran')", top))
        yield supervised


@pytest.mark.parametrize("name", UNFIT)
def test_module_that_leaves_something_behind_is_imported_by_each_task(unfit, name):
    _, reason, detail = UNFIT[name]
    for _ in range(2):
        assert unfit.run("say", f"{name}.py").outcome == "success"
    given_up = f"module=m_{name} reason={reason} "
    wait_until(lambda: lines(unfit, f"module=m_{name} "), f"m_{name} to be given up", timeout=30)
    (line,) = lines(unfit, f"module=m_{name} ")
    assert given_up in line
    assert detail in line.partition("detail=")[2]
    events = settle(unfit, f"{name}.py")
    assert "ran" in events
    # What comes before it is made ahead all the same, and what comes after it is not.
    assert imported_ahead(events) == ["moment"]
    said = [event for event in events if event == "words of a module"]
    assert bool(said) == (name in SAID_BY_TASK)


def test_imports_before_different_unfit_ones_share_a_process(unfit):
    for name in ("prints", "raises"):
        settle(unfit, f"{name}.py")
    ready = lines(unfit, "warm process ready", "moment")
    assert len(ready) == 1, ready


def test_what_an_unfit_module_made_is_taken_away(unfit):
    for name, file in (("forks", "child"), ("makes_folder", "folder")):
        settle(unfit, f"{name}.py")
        assert (unfit.installation.prefix / file).exists()
    child = int((unfit.installation.prefix / "child").read_text())
    wait_until(lambda: not is_running(child), "the child to end", timeout=20)
    assert not Path((unfit.installation.prefix / "folder").read_text()).exists()


def test_imports_of_a_file_are_made_ahead_once_for_two_files(supervised):
    top = "import moment\nimport other"
    for file in ("dag.py", "second.py"):
        write(supervised.dags / file, dag("print('ran')", top))
        assert imported_ahead(settle(supervised, file)) == ["moment", "other"]
    assert len(lines(supervised, "warm process ready", "other")) == 1


def test_files_whose_imports_load_the_same_modules_in_one_order_share_a_process(supervised):
    write(supervised.dags / "dag.py", dag(top="import moment\nimport other"))
    write(supervised.dags / "second.py", dag(top="import moment\nimport other, moment"))
    for file in ("dag.py", "second.py"):
        assert set(imported_ahead(settle(supervised, file))) == {"moment", "other"}
    assert len(lines(supervised, "warm process ready", "other")) == 1


def test_quick_imports_get_no_process_of_their_own(supervised):
    supervised.installation.module("quick")
    write(supervised.dags / "dag.py", dag(top="import quick"))
    assert imported_ahead(settle(supervised)) == []


def test_edit_of_a_file_is_seen_by_the_next_task_and_changes_what_is_imported_ahead(supervised):
    write(supervised.dags / "dag.py", dag("print('old')", "import moment"))
    assert "old" in settle(supervised)
    write(supervised.dags / "dag.py", dag("print('new')", "import other"), age_s=50)
    events = supervised.run("say").events
    assert "new" in events
    assert "old" not in events
    assert imported_ahead(settle(supervised)) == ["other"]


def test_edit_of_a_helper_is_seen_by_the_next_task_and_changes_what_is_imported_ahead(supervised):
    write(supervised.dags / "helper.py", "import moment\nWORD = 'old'\n")
    write(supervised.dags / "dag.py", dag("print(helper.WORD)", "import helper"))
    events = settle(supervised)
    assert "old" in events
    # No line of a DAG folder runs before its task.
    assert imported_ahead(events) == ["moment"]
    write(supervised.dags / "helper.py", "import other\nWORD = 'new'\n", age_s=50)
    assert "new" in supervised.run("say").events
    assert imported_ahead(settle(supervised)) == ["other"]


def test_module_that_appears_is_seen_by_the_next_task(supervised):
    top = "try:\n    from extra import WORD\nexcept ImportError:\n    WORD = 'without'"
    write(supervised.dags / "dag.py", dag("print(WORD)", top=top))
    assert "without" in settle(supervised)
    write(supervised.dags / "extra.py", "WORD = 'with'\n")
    assert "with" in supervised.run("say").events


def test_deleted_file_fails_as_without_a_warm_process(supervised):
    write(supervised.dags / "dag.py", dag("print('ran')", "import moment"))
    settle(supervised)
    (supervised.dags / "dag.py").unlink()
    events = supervised.run("say").events
    assert "Dag not found during start up" in events
    assert "ran" not in events


def test_upgrade_of_a_package_replaces_the_process(supervised):
    package = supervised.installation.packages / "upgraded"
    for version in ("old", "new"):
        # As pip does: the old one goes, the new one comes.
        shutil.rmtree(package, ignore_errors=True)
        package.mkdir()
        write(package / "__init__.py", TAKES_A_MOMENT + f"VERSION = {version!r}\n")
        write(supervised.dags / "dag.py", dag("print(upgraded.VERSION)", "import upgraded"))
        assert version in supervised.run("say").events
        events = settle(supervised)
        assert version in events
        assert imported_ahead(events) == ["upgraded"]
    assert len(lines(supervised, "warm process ready", "upgraded")) == 2


def test_what_an_import_registered_for_the_exit_is_done_by_each_task(supervised, tmp_path):
    mark = tmp_path / "mark"
    source = TAKES_A_MOMENT + (
        "import atexit, os\n"
        f"def end():\n    with open({str(mark)!r}, 'a') as f: f.write(f'{{os.getpid()}} ')\n"
        "atexit.register(end)"
    )
    supervised.installation.module("registers", source)
    write(supervised.dags / "dag.py", dag("print('pid', os.getpid())", "import registers"))
    pids = []
    for _ in range(2):
        events = settle(supervised)
        assert imported_ahead(events) == ["registers"]
        pids += [event.split()[1] for event in events if event.startswith("pid ")]
    assert [mark.read_text().split().count(pid) for pid in pids] == [1, 1]


def test_exception_that_nobody_catches_is_told_as_without_a_warm_process(tmp_path, folder):
    body = "sys.excepthook(ValueError, ValueError('words'), None)"
    told = []
    for warm in ("imports", "off"):
        with started(tmp_path / warm, WARM=warm) as supervised:
            write(supervised.dags / "dag.py", dag(body, "import moment\nimport sys"))
            events = settle(supervised) if warm == "imports" else supervised.run("say").events
            told.append("Unhandled exception" in events)
    assert told == [True, True]


def test_file_that_can_not_be_read_as_source_is_parsed_by_each_task(supervised):
    write(supervised.dags / "dag.py", dag("print('ran')", "import moment"))
    settle(supervised)
    write(supervised.dags / "dag.py", "import moment\n(", age_s=50)
    assert "ran" not in supervised.run("say").events
    wait_until(
        lambda: lines(supervised, "are not known", "reason=unreadable", "SyntaxError"),
        "the reason",
        timeout=20,
    )
    write(supervised.dags / "dag.py", dag("print('again')"), age_s=20)
    assert "again" in supervised.run("say").events


def test_without_warm_processes_every_task_is_forked_from_the_zygote(tmp_path, folder):
    with started(tmp_path, WARM="off") as supervised:
        write(supervised.dags / "dag.py", dag("print('ran')", top="import moment"))
        for _ in range(2):
            assert "ran" in supervised.run("say").events
        assert supervised.forked_from() == ["off", "off"]
        assert lines(supervised, "warm process ready") == []


def test_new_bundle_version_is_seen_by_the_next_task(tmp_path, folder):
    module = tmp_path / "config" / "versioned.py"
    module.parent.mkdir()
    module.write_text(
        "from pathlib import Path\n"
        "from airflow.dag_processing.bundles.base import BaseDagBundle\n"
        "class Versioned(BaseDagBundle):\n"
        "    supports_versioning = True\n"
        "    def initialize(self): super().initialize()\n"
        "    def get_current_version(self): return 'v1'\n"
        "    def refresh(self): pass\n"
        "    @property\n"
        f"    def path(self): return Path({str(tmp_path)!r}) / (self.version or 'v1')\n"
    )
    for version, imports in (("v1", "moment"), ("v2", "other")):
        (tmp_path / version).mkdir()
        write(tmp_path / version / "dag.py", dag(f"print('{version}')", f"import {imports}"))
    options = {
        "AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": (
            '[{"name": "b", "classpath": "versioned.Versioned", "kwargs": {}}]'
        ),
        "AIRFLOW__CORE__PLUGINS_FOLDER": tmp_path / "plugins",
    }
    with started(tmp_path, **options) as supervised:
        seen = set()
        for _ in range(5):
            for version in ("v1", "v2"):
                info = {"name": "b", "version": version}
                ended = supervised.run("say", bundle_info=info)
                assert version in ended.events, supervised.said()
                if supervised.forked_from()[-1] == "warm":
                    seen.add((version, *imported_ahead(ended.events)))
        assert seen == {("v1", "moment"), ("v2", "other")}


def test_dead_warm_process_takes_its_tasks_along_and_is_replaced(supervised):
    write(supervised.dags / "dag.py", dag("pass", "import moment"))
    settle(supervised)
    body = "print('waits'); import threading; threading.Event().wait()"
    write(supervised.dags / "dag.py", dag(body, "import moment"), age_s=50)
    first = supervised.start("say")
    supervised.wait_for_event(first, "waits")
    second = supervised.start("say")
    supervised.wait_for_event(second, "waits")
    assert supervised.forked_from()[-1] == "warm"
    (line,) = lines(supervised, "warm process ready", "moment")
    os.kill(int(line.partition("pid=")[2].split()[0]), signal.SIGKILL)
    assert supervised.end_of(second).outcome == "failed"
    write(supervised.dags / "dag.py", dag("print('again')", "import moment"), age_s=20)
    assert "again" in settle(supervised)
    assert len(lines(supervised, "warm process ready", "moment")) == 2
    supervised.say({"kill": first, "signal": "kill"})
    supervised.end_of(first)


def test_modules_in_another_order_have_a_process_of_their_own(supervised):
    for name, word in (("first", "one"), ("second", "two")):
        source = TAKES_A_MOMENT + f"import os\nWORD = os.environ.setdefault('WORD', {word!r})\n"
        supervised.installation.module(name, source)
    for file, top in (
        ("dag.py", "import first\nimport second"),
        ("reverse.py", "import second\nimport first"),
    ):
        write(supervised.dags / file, dag("print(os.environ['WORD'])", top))
    assert "one" in settle(supervised, "dag.py")
    assert "two" in settle(supervised, "reverse.py")


def test_file_that_a_module_read_is_read_anew_when_it_has_changed(supervised):
    config = supervised.installation.prefix / "config"
    config.write_text("old")
    supervised.installation.module(
        "configured", TAKES_A_MOMENT + f"WORD = open({str(config)!r}).read()\n"
    )
    write(supervised.dags / "dag.py", dag("print(configured.WORD)", "import configured"))
    assert "old" in settle(supervised)
    config.write_text("newer")
    assert "newer" in supervised.run("say").events
    assert "newer" in settle(supervised)


def test_filters_of_warnings_that_a_module_sets_end_with_the_parse(supervised):
    supervised.installation.module(
        "strict", TAKES_A_MOMENT + "import warnings\nwarnings.simplefilter('error')\n"
    )
    body = "import warnings; print('filter', warnings.filters[0][0])"
    seen = "import warnings\nprint('at top', warnings.filters[0][0])"
    write(supervised.dags / "dag.py", dag(body, f"import strict\n{seen}"))
    settle(supervised)
    first = supervised.run("say").events
    assert "at top error" in first
    write(supervised.dags / "plain.py", dag(body, "import moment"))
    settle(supervised, "plain.py")
    plain = supervised.run("say", "plain.py").events
    said = [[event for event in events if event.startswith("filter")] for events in (first, plain)]
    assert said[0] == said[1]


def test_process_that_stands_still_holds_no_run_and_its_run_can_be_killed(supervised):
    write(supervised.dags / "dag.py", dag("print('ran')", "import moment"))
    settle(supervised)
    (line,) = lines(supervised, "warm process ready", "moment")
    pid = int(line.partition("pid=")[2].split()[0])
    os.kill(pid, signal.SIGSTOP)
    try:
        # The first takes the child that waits, which is no concern of the process.
        runs = [supervised.start("say") for _ in range(3)]
        supervised.say({"kill": runs[1], "signal": "term"})
        assert supervised.end_of(runs[1]).info == "killed before it started"
        assert supervised.end_of(runs[2]).outcome == "success"
        assert supervised.forked_from()[-1] == "warm"
        assert lines(supervised, "a warm process is given up reason=silent")
    finally:
        os.kill(pid, signal.SIGCONT)
