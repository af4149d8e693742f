# SPDX-License-Identifier: Apache-2.0
"""Which imports of a DAG file are certain, from its source alone."""

from __future__ import annotations

import importlib.util
import os
from pathlib import Path

import pytest

from zk_executor.worker import import_scan, top_level_imports
from zk_executor.worker.installed import Installed
from zk_executor.worker.top_level_imports import Import, path_state


@pytest.fixture
def dags(tmp_path: Path) -> Path:
    folder = tmp_path / "dags"
    folder.mkdir()
    return folder


def find(dags: Path, source: str | bytes, file: str = "dag.py") -> top_level_imports.Found:
    path = dags / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    return top_level_imports.find(str(path), str(dags), Installed([str(dags)]))


def names(dags: Path, source: str) -> list[str]:
    return [one.name for one in find(dags, source).imports]


# In each, numpy is imported first, then comes what is told, then pandas.
GOES_ON = {
    "nothing": "",
    "a docstring and constants": '"""Words."""\nA = 1\nB: int = -2\nC = ("x", [1, {2}], {"k": A})',
    "a function": "def f(a, b: int = 1, *c, d: str | None = None, **e) -> list[int]: open('/x')",
    "an async function": "async def f(): return 1",
    "a lambda": "F = lambda: 1 / 0",
    "a logger": "import logging\nLOG = logging.getLogger(__name__)",
    "pass": "pass",
    "the standard library": "import os, sys, json.decoder\nfrom pathlib import Path",
    "a future": "...",
    "types only": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import nowhere_at_all",
    "types by their module": "import typing\nif typing.TYPE_CHECKING:\n    import nowhere_at_all",
    "an import that may fail and is there": (
        "try:\n    import pyarrow\nexcept ImportError:\n    pyarrow = None"
    ),
    "an alias": "import pyarrow as pa",
    "a star": "from pyarrow import *",
}
ENDS = {
    "the environment": "import os\nos.environ['OPENBLAS_NUM_THREADS'] = '1'",
    "the environment, deleted": "import os\ndel os.environ['HOME']",
    "the environment, augmented": "import os\nos.environ |= {'A': '1'}",
    "putenv": "import os\nos.putenv('A', '1')",
    "sys.path": "import sys\nsys.path.insert(0, '/x')",
    "sys.path, sliced": "import sys\nsys.path[:0] = ['/x']",
    "sys.modules": "import sys\nsys.modules['pandas'] = None",
    "an attribute": "numpy.x = 1",
    "a tuple of targets": "a, numpy.x = 1, 2",
    "a call": "print()",
    "a call in a constant": "A = [f()]",
    "a call in a default": "def f(a=print()): pass",
    "a call in an annotation": "def f(a: print()): pass",
    "a call in the annotation of a variable": "A: print() = 1",
    "a call in an f-string": "A = f'{print()}'",
    "an attribute that may compute": "A = numpy.anything",
    "an item": "import os\nA = os.environ['HOME']",
    "an operator": "A = numpy + 1",
    "a comprehension": "A = [x for x in numpy]",
    "a walrus": "(a := print())",
    "unpacking": "A = {**numpy}",
    "a decorator": "@numpy\ndef f(): pass",
    "a class": "class A(numpy.B): pass",
    "a plain class": "class A: pass",
    "if": "if True:\n    pass",
    "a loop": "for a in (): pass",
    "with": "with numpy: pass",
    "raise": "raise SystemExit",
    "assert": "assert True",
    "delete": "del numpy",
    "a global": "global A",
    "what is not there": "import nowhere_at_all",
    "what may be there": "try:\n    import nowhere_at_all\nexcept ImportError:\n    pass",
    "a try with more": "try:\n    import pyarrow\n    print()\nexcept ImportError:\n    pass",
    "a relative import without a package": "from . import x",
    "a logger of another kind": "import logging\nLOG = logging.getLogger(numpy.name())",
}


@pytest.mark.parametrize("what", GOES_ON)
def test_imports_are_followed_past_what_changes_nothing(dags: Path, what: str) -> None:
    found = names(dags, f"import numpy\n{GOES_ON[what]}\nimport pandas\n")
    assert [name for name in found if name != "pyarrow"] == ["numpy", "pandas"]
    assert ("pyarrow" in found) == ("pyarrow" in GOES_ON[what])


@pytest.mark.parametrize("what", ENDS)
def test_imports_end_where_anything_could_happen(dags: Path, what: str) -> None:
    found = names(dags, f"import numpy\n{ENDS[what]}\nimport pandas\n")
    assert [name for name in found if name != "pyarrow"] == ["numpy"]


def test_import_names_what_is_taken_from_a_module_and_is_told_once(dags: Path) -> None:
    source = "from numpy import random as r, linalg\nimport numpy.fft\nimport numpy.fft as f"
    assert find(dags, source).imports == [
        Import("numpy", ("random", "linalg")),
        Import("numpy.fft"),
    ]


def test_futures_are_no_imports(dags: Path) -> None:
    assert names(dags, "from __future__ import annotations\nimport numpy") == ["numpy"]


def test_imports_of_own_modules_are_followed_in_their_place(dags: Path) -> None:
    (dags / "one.py").write_text("import pandas\n")
    found = find(dags, "import numpy\nimport one\nimport pyarrow")
    assert [one.name for one in found.imports] == ["numpy", "pandas", "pyarrow"]
    assert str(dags / "one.py") in found.paths


def test_own_module_that_does_something_ends_what_comes_after_it(dags: Path) -> None:
    (dags / "one.py").write_text("import pandas\nprint()\n")
    assert names(dags, "import numpy\nimport one\nimport pyarrow") == ["numpy", "pandas"]


def test_package_of_the_dag_folder_is_followed_through_relative_imports(dags: Path) -> None:
    package = dags / "own" / "inner"
    package.mkdir(parents=True)
    (dags / "own" / "__init__.py").write_text("import numpy\n")
    (dags / "own" / "near.py").write_text("import pyarrow\nX = 1\n")
    (package / "__init__.py").write_text("from . import here\n")
    (package / "here.py").write_text("from ..near import X\nimport pandas\n")
    found = find(dags, "from own.inner import here")
    assert [one.name for one in found.imports] == ["numpy", "pyarrow", "pandas"]
    assert {str(dags / "own"), str(package), str(package / "here.py")} <= set(found.paths)


def test_relative_import_beyond_the_package_ends(dags: Path) -> None:
    (dags / "own").mkdir()
    (dags / "own" / "__init__.py").write_text("import numpy\nfrom ...x import y\nimport pandas\n")
    assert names(dags, "import own") == ["numpy"]


def test_modules_that_import_each_other_are_followed_once(dags: Path) -> None:
    (dags / "one.py").write_text("import two\nimport numpy\n")
    (dags / "two.py").write_text("import one\nimport pandas\n")
    assert names(dags, "import one") == ["pandas", "numpy"]


def test_folder_without_init_is_a_package_of_the_dags(dags: Path) -> None:
    (dags / "space").mkdir()
    (dags / "space" / "one.py").write_text("import numpy\n")
    assert names(dags, "import space.one\nimport pandas") == ["numpy", "pandas"]


def test_native_module_of_the_dag_folder_ends(dags: Path) -> None:
    suffix = importlib.machinery.EXTENSION_SUFFIXES[0]
    (dags / f"native{suffix}").touch()
    assert names(dags, "import numpy\nimport native\nimport pandas") == ["numpy"]


def test_module_of_the_dag_folder_does_not_hide_an_installed_one(dags: Path) -> None:
    """Airflow puts the DAG folder last."""
    (dags / "numpy.py").write_text("import pandas\n")
    assert names(dags, "import numpy") == ["numpy"]


def test_module_before_the_installed_ones_hides_them(dags: Path, tmp_path, monkeypatch) -> None:
    before = tmp_path / "before"
    before.mkdir()
    (before / "numpy.py").write_text("import pandas\n")
    monkeypatch.syspath_prepend(str(before))
    found = find(dags, "import numpy")
    assert [one.name for one in found.imports] == ["pandas"]
    assert str(before) in found.paths


def test_folders_in_which_a_module_may_appear_are_looked_at(dags: Path) -> None:
    found = find(dags, "import numpy")
    assert {str(dags), str(dags / "dag.py")} <= set(found.paths)
    assert found.paths[str(dags)] == path_state(str(dags))
    before = path_state(str(dags))
    (dags / "new.py").touch()
    assert path_state(str(dags)) != before


def test_state_of_a_path_differs_after_an_edit_that_keeps_size_and_time(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("old")
    before, times = path_state(str(file)), (file.stat().st_atime_ns, file.stat().st_mtime_ns)
    file.write_text("new")
    os.utime(file, ns=times)
    assert path_state(str(file)) != before
    assert path_state(str(tmp_path / "nothing")) is None


@pytest.mark.parametrize(
    "source",
    [
        "import (",
        b"\xff\xfe",
        b"# coding: nothing_of_this_name\nimport numpy",
        b"import numpy\0",
        "A = " + "-" * 100_000 + "1",
        "A = " + "(" * 100_000 + ")" * 100_000,
        "A = " + "+".join(["1"] * 100_000),
    ],
    ids=["syntax", "bytes", "coding", "nul", "signs", "parentheses", "sum"],
)
def test_source_that_can_not_be_parsed_is_told_by_the_scan_and_has_no_imports(
    dags: Path, source: str | bytes
) -> None:
    """In a process of its own, as this may even end it."""
    path = dags / "dag.py"
    path.write_bytes(source.encode() if isinstance(source, str) else source)
    pid = os.fork()
    if pid == 0:
        what = {"file": str(path), "bundle_path": str(dags), "dag_folders": []}
        os._exit(bool(import_scan.scan(what)["imports"]))
    _, status = os.waitpid(pid, 0)
    assert os.waitstatus_to_exitcode(status) in (0, -11)


def test_scan_of_a_missing_file_has_a_reason(dags: Path) -> None:
    what = {"file": str(dags / "no.py"), "bundle_path": str(dags), "dag_folders": []}
    answer = import_scan.scan(what)
    assert (answer["imports"], answer["reason"]) == ([], "unreadable")
    assert "FileNotFoundError" in answer["detail"]


def test_scan_leaves_out_what_is_loaded(dags: Path) -> None:
    path = dags / "dag.py"
    path.write_text("import airflow.sdk\nfrom pytest import fixture\nimport pyarrow.flight\n")
    what = {"file": str(path), "bundle_path": str(dags), "dag_folders": [str(dags)]}
    assert import_scan.scan(what)["imports"] == [["pyarrow.flight", []]]


def test_files_are_followed_up_to_a_bound(dags: Path) -> None:
    count = top_level_imports.FILES_MAX + 1
    for number in range(count):
        (dags / f"m{number}.py").touch()
    own = "\n".join(f"import m{number}" for number in range(count))
    assert names(dags, f"import pandas\n{own}\nimport pyarrow") == ["pandas"]


def test_too_big_a_file_is_not_read(dags: Path) -> None:
    source = "import numpy\n#" + "x" * top_level_imports.FILE_BYTES_MAX
    assert find(dags, source).imports == []


ENDS_BEFORE_ITS_HANDLER = {
    "a name that an own module lacks": ("from helper import THREADS", "OTHER = 1\n"),
    "a name for which an own module is asked": (
        "from helper import x",
        "def __getattr__(name):\n    return 1\n",
    ),
    "all names of an own module": ("from helper import *", "X = 1\n"),
    "a path that an own package sets": ("import helper", "__path__ = []\n"),
}


@pytest.mark.parametrize("name", ENDS_BEFORE_ITS_HANDLER)
def test_nothing_is_known_after_an_import_that_may_not_do_what_it_seems_to(
    dags: Path, name: str
) -> None:
    top, helper = ENDS_BEFORE_ITS_HANDLER[name]
    (dags / "helper.py").write_text("import numpy\n" + helper)
    source = f"try:\n    {top}\nexcept ImportError:\n    pass\nimport pandas\n"
    assert [one.name for one in find(dags, source).imports] == ["numpy"]


def test_import_of_a_name_that_an_installed_module_lacks_fails_as_the_statement_would() -> None:
    with pytest.raises(ImportError, match="NOT_THERE"):
        Import("json", ("NOT_THERE",)).run()
    Import("json", ("decoder", "*")).run()
