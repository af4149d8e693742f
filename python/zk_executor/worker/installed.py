# SPDX-License-Identifier: Apache-2.0
"""
What belongs to the Python installation, and so may be imported before a DAG file asks for it.

That is what lies in the standard library or in a folder of installed packages, and not below a
folder of DAGs: the widely used images have their DAGs at ``/usr/local/airflow/dags`` below the
prefix ``/usr/local``, and a DAG folder may hold packages, or be installed as one.
"""

from __future__ import annotations

import json
import os
import site
import sysconfig
from collections.abc import Iterable
from types import ModuleType
from typing import Any

_SYSCONFIG_PATHS = ("stdlib", "platstdlib", "purelib", "platlib")


def roots() -> list[str]:
    """The folders of the standard library and of installed packages that are there."""
    found = [sysconfig.get_path(name) for name in _SYSCONFIG_PATHS]
    # Debian has several; pip --user, which Airflow's image uses, has another.
    found += site.getsitepackages()
    if site.ENABLE_USER_SITE:
        found.append(site.getusersitepackages())
    return list(dict.fromkeys(os.path.realpath(path) for path in found if os.path.isdir(path)))


def dag_folders(conf: Any) -> list[str]:
    """The folders that the configuration names for DAGs, bundles and plugins."""
    found = [
        conf.get("core", "dags_folder", fallback=""),
        conf.get("core", "plugins_folder", fallback=""),
        conf.get("dag_processor", "dag_bundle_storage_path", fallback=""),
    ]
    try:
        bundles = json.loads(conf.get("dag_processor", "dag_bundle_config_list", fallback="") or "")
        found += [(bundle.get("kwargs") or {}).get("path") for bundle in bundles]
    except (ValueError, TypeError, AttributeError):  # Airflow says what is wrong with it
        pass
    return [os.path.expanduser(path) for path in found if path and isinstance(path, str)]


class Installed:
    """Tells what is installed. ``dag_folders`` win over all else, wherever they lie."""

    def __init__(self, dag_folders: Iterable[str]) -> None:
        self._roots = tuple(os.path.join(root, "") for root in roots())
        excluded: set[str] = set()
        for folder in dag_folders:
            excluded |= {_as_prefix(os.path.abspath(folder)), _as_prefix(os.path.realpath(folder))}
        self._excluded = tuple(excluded)

    def holds(self, path: str) -> bool:
        """Whether a file or folder belongs to the installation."""
        seen, real = _as_prefix(os.path.abspath(path)), _as_prefix(os.path.realpath(path))
        if seen.startswith(self._excluded) or real.startswith(self._excluded):
            return False
        return real.startswith(self._roots)

    def has(self, module: ModuleType) -> bool:
        """Whether a loaded module does, all of it."""
        file = getattr(module, "__file__", None)
        if isinstance(file, str):
            return self.holds(file)
        folders = list(getattr(module, "__path__", None) or ())
        if folders:  # a package without __init__, which may lie in several folders
            return all(isinstance(one, str) and self.holds(one) for one in folders)
        # Made out of nothing (six.moves, Cython's), by code that itself was looked at.
        return True


def _as_prefix(path: str) -> str:
    return os.path.join(path, "")
