# SPDX-License-Identifier: Apache-2.0
"""What counts as installed: wherever a folder of DAGs lies, never what is in it."""

from __future__ import annotations

import json
import os
import site
import sysconfig
import types
from collections.abc import Callable
from pathlib import Path

import pytest

from zk_executor.worker import installed
from zk_executor.worker.installed import Installed


class Conf:
    """A configuration with these options of any section."""

    def __init__(self, **options: str) -> None:
        self.options = options

    def get(self, section: str, option: str, fallback: str) -> str:
        return self.options.get(option, fallback)


@pytest.fixture
def packages(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of installed packages."""
    folder = tmp_path / "prefix" / "lib" / "site-packages"
    folder.mkdir(parents=True)
    before = site.getsitepackages()
    monkeypatch.setattr(site, "getsitepackages", lambda: [*before, str(folder)])
    return folder


def test_standard_library_and_installed_packages_are_installed() -> None:
    here = Installed([])
    assert here.holds(os.__file__)
    assert here.holds(json.__file__)
    assert here.holds(pytest.__file__)
    assert here.holds(sysconfig.get_path("purelib"))
    assert not here.holds(__file__)


def test_dag_folder_below_installed_packages_is_not_installed(packages: Path) -> None:
    dags = packages / "dags"
    dags.mkdir()
    here = Installed([str(dags)])
    assert here.holds(str(packages / "library.py"))
    assert not here.holds(str(dags))
    assert not here.holds(str(dags / "dag.py"))
    # A neighbour whose name begins alike is none of it.
    assert here.holds(str(packages / "dags_of_a_library" / "__init__.py"))


def test_installed_packages_below_a_dag_folder_are_not_installed(packages: Path) -> None:
    """A virtual environment that lies among the DAGs."""
    here = Installed([str(packages.parents[2])])
    assert not here.holds(str(packages / "library.py"))


def test_folder_beside_the_packages_in_the_prefix_is_not_installed(packages: Path) -> None:
    """The layout of widely used images: the prefix /usr/local, DAGs in /usr/local/airflow/dags."""
    assert not Installed([]).holds(str(packages.parents[1] / "airflow" / "dags" / "dag.py"))


def link(place: Path, to: Path) -> Path:
    place.symlink_to(to)
    return place


@pytest.mark.parametrize("named_by_link", [True, False])
def test_links_change_nothing(packages: Path, tmp_path: Path, named_by_link: bool) -> None:
    dags = packages / "dags"
    dags.mkdir()
    (dags / "dag.py").touch()
    linked = link(tmp_path / "linked", dags)
    here = Installed([str(linked if named_by_link else dags)])
    assert not here.holds(str(dags / "dag.py"))
    assert not here.holds(str(linked / "dag.py"))


def test_package_that_is_a_link_into_the_dag_folder_is_not_installed(
    packages: Path, tmp_path: Path
) -> None:
    dags = tmp_path / "dags"
    dags.mkdir()
    (dags / "helper.py").touch()
    link(packages / "helper.py", dags / "helper.py")
    assert not Installed([str(dags)]).holds(str(packages / "helper.py"))


def test_package_that_is_a_link_to_elsewhere_is_not_installed(
    packages: Path, tmp_path: Path
) -> None:
    """Installed for development: its files are edited."""
    (tmp_path / "source.py").touch()
    link(packages / "source.py", tmp_path / "source.py")
    assert not Installed([]).holds(str(packages / "source.py"))


def test_folder_of_packages_behind_a_link_is_installed(
    packages: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    linked = link(tmp_path / "linked", packages)
    monkeypatch.setattr(site, "getsitepackages", lambda: [str(linked)])
    assert Installed([]).holds(str(linked / "library.py"))
    assert Installed([]).holds(str(packages / "library.py"))


def test_packages_of_the_user_count_if_python_uses_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site, "getusersitepackages", lambda: str(tmp_path))
    for enabled in (True, False, None):
        monkeypatch.setattr(site, "ENABLE_USER_SITE", enabled)
        assert Installed([]).holds(str(tmp_path / "library.py")) == bool(enabled)


def test_every_folder_of_packages_counts_as_on_debian(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders = [tmp_path / "local" / "dist-packages", tmp_path / "python3" / "dist-packages"]
    for folder in folders:
        folder.mkdir(parents=True)
    missing = tmp_path / "missing"
    named = [str(one) for one in (*folders, missing)]
    monkeypatch.setattr(site, "getsitepackages", lambda: named)
    found = installed.roots()
    assert {str(one) for one in folders} <= set(found)
    assert str(missing) not in found
    assert len(found) == len(set(found))


def test_folders_of_the_configuration_are_found() -> None:
    bundles = [
        {"name": "a", "classpath": "x", "kwargs": {"path": "/bundles/a"}},
        {"name": "b", "classpath": "x"},
        {"name": "c", "classpath": "x", "kwargs": {"path": 3}},
    ]
    conf = Conf(
        dags_folder="~/dags",
        plugins_folder="/plugins",
        dag_bundle_storage_path="/storage",
        dag_bundle_config_list=json.dumps(bundles),
    )
    home = os.path.expanduser("~")
    assert installed.dag_folders(conf) == [f"{home}/dags", "/plugins", "/storage", "/bundles/a"]


@pytest.mark.parametrize("value", ["", "{", "3", '{"a": 1}', '["a"]', "null"])
def test_bundles_that_make_no_sense_are_left_to_airflow(value: str) -> None:
    conf = Conf(dags_folder="/dags", dag_bundle_config_list=value)
    assert installed.dag_folders(conf) == ["/dags"]


def module(**attributes: object) -> types.ModuleType:
    one = types.ModuleType("m")
    vars(one).update(attributes)
    return one


@pytest.mark.parametrize(
    ("make", "has"),
    [
        (lambda folder: module(__file__=str(folder / "m.py")), True),
        (lambda folder: module(__file__="/elsewhere/m.py"), False),
        (lambda folder: module(__path__=[str(folder / "m")]), True),
        (lambda folder: module(__path__=[str(folder / "m"), "/elsewhere/m"]), False),
        (lambda folder: module(__file__=None, __path__=["/elsewhere/m"]), False),
        (lambda _: module(), True),
    ],
)
def test_loaded_module_is_installed_if_all_of_it_is(
    packages: Path, make: Callable[[Path], types.ModuleType], has: bool
) -> None:
    assert Installed([]).has(make(packages)) == has
