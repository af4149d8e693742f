# SPDX-License-Identifier: Apache-2.0
"""The source distribution builds by itself, and what it yields is complete."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str, folder: Path, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **(env or {})},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=1500,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4000:]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The unpacked source distribution of a clean checkout, far from the repository."""
    folder = tmp_path_factory.mktemp("sdist")
    checkout = folder / "checkout"
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    for name in filter(None, listing.stdout.split("\0")):
        if (ROOT / name).is_file():
            (checkout / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, checkout / name)
    build = [sys.executable, "-m", "build", "--sdist", "--no-isolation", "--outdir", str(folder)]
    run(*build, folder=checkout)
    (archive,) = folder.glob("zk_executor-*.tar.gz")
    with tarfile.open(archive) as tar:
        tar.extractall(folder)
    return archive.with_name(archive.name.removesuffix(".tar.gz"))


def test_sdist_builds_a_wheel_with_extension_worker_and_package(source: Path) -> None:
    run(
        *[sys.executable, "-m", "pip", "wheel", "--no-build-isolation", "--no-deps"],
        *["--wheel-dir", "dist", "--config-settings=build-dir=.build/wheel", "."],
        folder=source,
        # The same sources were compiled before; the paths differ.
        env={
            "CCACHE_DIR": str(ROOT / ".build" / "ccache"),
            "CCACHE_BASEDIR": str(source),
            "CCACHE_NOHASHDIR": "1",
            "CMAKE_GENERATOR": "Ninja",
        },
    )
    (wheel,) = (source / "dist").glob("*.whl")
    names = zipfile.ZipFile(wheel).namelist()
    assert any(name.startswith("zk_executor/_core.") for name in names)
    assert any(name.endswith(".data/scripts/zk-worker") for name in names)
    for name in ("executor.py", "worker/zygote.py", "cli/commands.py", "_core.pyi", "py.typed"):
        assert f"zk_executor/{name}" in names
    # Connection tests are a word of Airflow's, no tests.
    tests = re.compile(r"(^|/)(tests?/|test_|conftest)|_test\.")
    assert tests.search("tests/python/test_settings.py") and tests.search("x/agent_test.cc")
    assert not [name for name in names if tests.search(name)]


def test_sdist_holds_what_a_reader_looks_for(source: Path) -> None:
    for name in ("LICENSE", "README.md", "CMakeLists.txt", "common/layout.h", "worker/agent.h"):
        assert (source / name).is_file(), name
    assert not (source / "tests").exists()
