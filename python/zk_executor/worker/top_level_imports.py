# SPDX-License-Identifier: Apache-2.0
"""
Which installed modules a DAG file imports at its top, found without running a line of it.

The file is read as source. Its statements are followed as long as nothing but imports has
happened that could change what a later import does: definitions, constants and loggers may stand
between imports; a call, or an assignment to something that is not a plain name, such as
``os.environ["X"]``, ends the list. Modules of its own that the file imports are followed in the
same way, in their place.

What is found is in the order of the file, and only what is certain to be imported: less is slower,
more would be wrong.
"""

from __future__ import annotations

import ast
import contextlib
import importlib.machinery
import os
import sys
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from zk_executor.worker.installed import Installed

IMPORTS_MAX = 200
FILES_MAX = 200
FILE_BYTES_MAX = 4 << 20


@dataclass(frozen=True)
class Import:
    """``import name``, or ``from name import names``."""

    name: str
    names: tuple[str, ...] = ()

    def run(self) -> None:
        """Import it. Raises what the statement would."""
        module = __import__(self.name, {}, {}, self.names, 0)
        for name in self.names:
            if name != "*" and not hasattr(module, name):
                raise ImportError(f"cannot import name {name!r} from {self.name!r}")


@dataclass
class Found:
    """What a DAG file imports, and the files and folders of which that is true."""

    imports: list[Import] = field(default_factory=list)
    paths: dict[str, dict[str, Any]] = field(default_factory=dict)  # as path_state() gives them


def find(file: str, bundle_path: str, installed: Installed) -> Found:
    """Read a DAG file. Raises OSError, SyntaxError, ValueError or RecursionError."""
    search = [path for path in sys.path if path]
    if bundle_path not in search:
        search.append(bundle_path)
    scan = _Scan(installed, search)
    # A module that appears there could stand before an installed one.
    for path in search:
        if not installed.holds(path) and os.path.isdir(path):
            scan.depend_on(path)
    with contextlib.suppress(_Ended):
        scan.file(file, package=None)
    return Found(scan.imports, scan.paths)


def path_state(path: str) -> dict[str, Any] | None:
    """What of a file or folder differs once it has changed; None if it isn't there."""
    try:
        found = os.stat(path)
    except OSError:
        return None
    return {
        "path": path,
        "mtime_ns": found.st_mtime_ns,
        "ctime_ns": found.st_ctime_ns,
        "size": found.st_size,
        "inode": found.st_ino,
    }


class _Ended(Exception):
    """What follows could do anything."""


class _Scan:
    def __init__(self, installed: Installed, search: Sequence[str]) -> None:
        self.imports: list[Import] = []
        self.paths: dict[str, dict[str, Any]] = {}
        self._installed = installed
        self._search = list(search)
        # By its file, the names that a module of the DAGs' own has after its import: whether one is
        # a module that it imported.
        self._followed: dict[str, dict[str, bool]] = {}

    def depend_on(self, path: str) -> None:
        """Record a path as it is now, before it is read."""
        if path not in self.paths and (state := path_state(path)):
            self.paths[path] = state

    def file(self, path: str, package: str | None) -> None:
        """Follow the statements of a file. ``package`` is what its relative imports are of."""
        path = os.path.abspath(path)
        if path in self._followed:
            return
        if len(self._followed) >= FILES_MAX or os.path.getsize(path) > FILE_BYTES_MAX:
            raise _Ended
        self._followed[path] = {}
        self.depend_on(path)
        with tokenize.open(path) as source:
            tree = ast.parse(source.read(), path)
        self._followed[path] = _bound_names(tree.body)
        self._statements(tree.body, package)

    def _statements(self, body: Sequence[ast.stmt], package: str | None) -> None:
        for statement in body:
            self._statement(statement, package)

    def _statement(self, one: ast.stmt, package: str | None) -> None:
        if isinstance(one, ast.Import):
            for alias in one.names:
                self._import(Import(alias.name))
        elif isinstance(one, ast.ImportFrom):
            name = _absolute(one, package)
            self._import(Import(name, tuple(alias.name for alias in one.names)))
        elif isinstance(one, ast.Try):
            self._try(one, package)
        elif isinstance(one, ast.If) and _is_type_checking(one.test):
            self._statements(one.orelse, package)
        elif not _is_inert(one):
            raise _Ended

    def _try(self, one: ast.Try, package: str | None) -> None:
        """``try: import a; except ImportError: …``, if which of both runs is certain."""
        imports = [part for part in one.body if isinstance(part, (ast.Import, ast.ImportFrom))]
        if len(imports) != len(one.body):
            raise _Ended
        self._statements(one.body, package)  # which ends where a module isn't found
        self._statements([*one.orelse, *one.finalbody], package)

    def _import(self, one: Import) -> None:
        if one.name == "__future__":
            return
        found = self._spec(one.name.partition(".")[0])
        if found is None:
            raise _Ended
        if found.origin not in ("built-in", "frozen") and not self._is_installed(found):
            self._follow(one, found)
        elif one.name.partition(".")[0] not in sys.stdlib_module_names:
            # The standard library is quick to import, and would only make lists differ.
            self._keep(one)

    def _keep(self, one: Import) -> None:
        if len(self.imports) >= IMPORTS_MAX:
            raise _Ended
        if one not in self.imports:
            self.imports.append(one)

    def _spec(
        self, name: str, path: Sequence[str] | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if path is None:
            for finder in (importlib.machinery.BuiltinImporter, importlib.machinery.FrozenImporter):
                if spec := finder.find_spec(name):
                    return spec
        return importlib.machinery.PathFinder.find_spec(name, path or self._search)

    def _is_installed(self, spec: importlib.machinery.ModuleSpec) -> bool:
        if spec.has_location and spec.origin:
            return self._installed.holds(spec.origin)
        folders = list(spec.submodule_search_locations or ())
        return bool(folders) and all(self._installed.holds(folder) for folder in folders)

    def _follow(self, one: Import, top: importlib.machinery.ModuleSpec) -> None:
        """Go through the files of a module that is the DAGs' own, as its import would."""
        spec: importlib.machinery.ModuleSpec | None = top
        parts = one.name.split(".")
        for depth, _ in enumerate(parts, start=1):
            name = ".".join(parts[:depth])
            if depth > 1:
                spec = self._below(name, spec)
            if spec is None:
                raise _Ended
            self._module(spec, name)
        origin = os.path.abspath(spec.origin) if spec and spec.has_location and spec.origin else ""
        bound = self._followed.get(origin, {})
        for below in one.names:
            if below == "*":
                raise _Ended  # which may mean modules below it
            if bound.get(below) is False:
                continue  # a name of the module itself, which goes before a module below it
            found = self._below(f"{one.name}.{below}", spec)
            if found is not None:
                self._module(found, f"{one.name}.{below}")
            elif below not in bound:
                raise _Ended  # an error of the import

    def _below(
        self, name: str, parent: importlib.machinery.ModuleSpec | None
    ) -> importlib.machinery.ModuleSpec | None:
        folders = list(getattr(parent, "submodule_search_locations", None) or ())
        return self._spec(name, folders) if folders else None

    def _module(self, spec: importlib.machinery.ModuleSpec, name: str) -> None:
        folders = spec.submodule_search_locations
        for folder in folders or ():
            self.depend_on(folder)
        if not spec.has_location:
            return  # a folder without __init__
        if not (spec.origin or "").endswith(".py"):
            raise _Ended  # native code, or compiled: what it does nobody can see
        self.file(str(spec.origin), name if folders is not None else name.rpartition(".")[0])


def _absolute(one: ast.ImportFrom, package: str | None) -> str:
    if not one.level:
        return one.module or ""
    if not package:
        raise _Ended
    parts = package.split(".")
    if one.level > len(parts):
        raise _Ended
    base = ".".join(parts[: len(parts) - one.level + 1])
    return f"{base}.{one.module}" if one.module else base


def _is_type_checking(test: ast.expr) -> bool:
    name = test.attr if isinstance(test, ast.Attribute) else getattr(test, "id", "")
    return name == "TYPE_CHECKING"


_ANNOTATION = (ast.Name, ast.Attribute, ast.Constant, ast.Subscript, ast.Tuple, ast.List,
               ast.BinOp, ast.BitOr, ast.Load)  # fmt: skip


def _is_annotation(one: ast.expr | None) -> bool:
    return one is None or all(isinstance(part, _ANNOTATION) for part in ast.walk(one))


# A module's own names that do not change how it is imported from, as __getattr__ and __path__ do.
_HARMLESS = frozenset({"__all__", "__author__", "__doc__", "__license__", "__version__"})


def _bound_names(body: Sequence[ast.stmt]) -> dict[str, bool]:
    """The names that plain statements give a module, and whether by an import."""
    names: dict[str, bool] = {}
    for one in body:
        if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            names[one.name] = False
        elif isinstance(one, (ast.Import, ast.ImportFrom)):
            for alias in one.names:
                names[alias.asname or alias.name.partition(".")[0]] = True
        elif isinstance(one, (ast.Assign, ast.AnnAssign)) and one.value is not None:
            targets = one.targets if isinstance(one, ast.Assign) else [one.target]
            names |= {target.id: False for target in targets if isinstance(target, ast.Name)}
    return names


def _is_plain_name(name: str) -> bool:
    return not (name.startswith("__") and name.endswith("__")) or name in _HARMLESS


def _is_inert(one: ast.stmt) -> bool:
    """Whether a statement of a module can change nothing but the module's own names."""
    if isinstance(one, ast.Pass):
        return True
    if isinstance(one, ast.Expr):
        return isinstance(one.value, ast.Constant)
    if isinstance(one, (ast.FunctionDef, ast.AsyncFunctionDef)):
        return (
            _is_plain_name(one.name)
            and not one.decorator_list
            and _is_signature(one.args)
            and _is_annotation(one.returns)
        )
    if isinstance(one, ast.Assign):
        targets = one.targets
    elif isinstance(one, ast.AnnAssign):
        if not _is_annotation(one.annotation):
            return False
        targets = [one.target]
    else:
        return False
    for target in targets:
        if not isinstance(target, ast.Name) or not _is_plain_name(target.id):
            return False
    return one.value is None or _is_value(one.value)


def _is_signature(arguments: ast.arguments) -> bool:
    every = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    every += [one for one in (arguments.vararg, arguments.kwarg) if one is not None]
    defaults = [*arguments.defaults, *(one for one in arguments.kw_defaults if one is not None)]
    return all(_is_annotation(one.annotation) for one in every) and all(map(_is_value, defaults))


def _is_value(one: ast.expr) -> bool:
    """Whether an expression only says a value; names of other modules are looked up at most."""
    if isinstance(one, (ast.Constant, ast.Name, ast.Lambda)):
        return True
    if isinstance(one, (ast.Tuple, ast.List, ast.Set)):
        return all(map(_is_value, one.elts))
    if isinstance(one, ast.Dict):
        return all(key is not None and _is_value(key) for key in one.keys) and all(
            map(_is_value, one.values)
        )
    if isinstance(one, ast.UnaryOp):
        return isinstance(one.operand, ast.Constant)
    return _is_logger(one)


def _is_logger(one: ast.expr) -> bool:
    """``logging.getLogger(name)``, which many files have between their imports."""
    return (
        isinstance(one, ast.Call)
        and isinstance(one.func, ast.Attribute)
        and isinstance(one.func.value, ast.Name)
        and (one.func.value.id, one.func.attr) == ("logging", "getLogger")
        and not one.keywords
        and all(isinstance(argument, (ast.Constant, ast.Name)) for argument in one.args)
    )
