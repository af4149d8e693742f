# SPDX-License-Identifier: Apache-2.0
"""``ZookeeperConfigOperator``: configuration in ZooKeeper, read and changed by a task.

Errors: subclasses of ZookeeperError; with each of them nothing was changed, but with
ZookeeperConnectionError, where it may have been. Session: nothing here needs one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseOperator

from zk_executor.config import plans
from zk_executor.config.masking import hidden, is_sensitive, mask
from zk_executor.config.store import ConfigStore
from zk_executor.exceptions import ZookeeperInvalidValue
from zk_executor.hooks.zookeeper import ZookeeperHook
from zk_executor.operators import arguments
from zk_executor.operators.arguments import NOT_GIVEN, NotGiven

if TYPE_CHECKING:
    from airflow.sdk import Context

Action = Literal["get", "set", "delete", "apply", "history", "rollback"]
ACTIONS = ("get", "set", "delete", "apply", "history", "rollback")
_FILES = (".yaml", ".yml")


class ZookeeperConfigOperator(BaseOperator):
    """Reads or changes the tree below ``path``; every change is one transaction, and a version.

    :param action: ``get`` returns ``revision`` and ``value``: a text, or dicts if there is
        something below the key. ``set`` one value (a dict: several). ``delete`` the key and what
        is below it. ``apply`` makes the whole tree what ``tree`` says. ``rollback`` makes it what
        it was. These return ``revision``, ``changed`` (the keys) and ``dry_run``. ``history``
        returns a list of ``revision``, ``when``, ``author``, ``comment``, ``changed``.
    :param path: the root of the tree, /app/config.
    :param key: below it, db/port; empty for the root.
    :param value: for ``set``; a text is stored as it is, numbers, true, false, lists as JSON, a
        dict as a znode for each of its keys.
    :param tree: for ``apply``; a dict, YAML text, or the name of a template file (.yaml, .yml).
        The only argument that is ever read from a file.
    :param keep_others: for ``apply``; what ``tree`` does not name stays.
    :param revision: for ``rollback`` and ``get``: which one.
    :param expected_revision: refuse if the tree is at another one: what an earlier ``get`` said.
        Given, it has to be a number when it is rendered: None and nothing are refused, too.
    :param history_max: how many revisions are kept. The tree remembers it.
    :param show_secrets: have ``get`` return the values of sensitive keys, which Airflow then keeps
        in XCom in clear; without it, they are ***.
    :param dry_run: log the diff, change nothing.
    :param sensitive: hide all values in logs and rendered templates, not only those of keys that
        Airflow calls sensitive.
    """

    template_fields: Sequence[str] = (
        "path",
        "key",
        "value",
        "tree",
        "revision",
        "expected_revision",
        "comment",
        "zookeeper_conn_id",
    )
    # Not template_ext: that would be for every field, and for the texts within them.
    template_fields_renderers: ClassVar[dict[str, str]] = {"tree": "yaml"}
    ui_color: ClassVar[str] = "#d8e6f0"

    def __init__(
        self,
        *,
        action: Action,
        path: str,
        key: str = "",
        value: Any = None,
        tree: Mapping[str, Any] | str | None = None,
        keep_others: bool = False,
        revision: int | str | NotGiven | None = NOT_GIVEN,
        expected_revision: int | str | NotGiven | None = NOT_GIVEN,
        comment: str = "",
        dry_run: bool = False,
        sensitive: bool = False,
        show_secrets: bool = False,
        history_max: int | None = None,
        zookeeper_conn_id: str = ZookeeperHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if action not in ACTIONS:
            raise ValueError(f"action is {action!r}; it must be one of {', '.join(ACTIONS)}")
        for name, given in (("set", value), ("apply", tree), ("rollback", revision)):
            if action == name and given in (None, NOT_GIVEN):
                needed = {"set": "value", "apply": "tree", "rollback": "revision"}[name]
                raise ValueError(f"action {name} needs {needed}")
        self.action = action
        self.path = path
        self.key = key
        self.value = value
        self.tree = tree
        self.keep_others = keep_others
        # Airflow shows template fields: the guards that were given are known beside them.
        guards = {"revision": revision, "expected_revision": expected_revision}
        self._given = {name for name, value in guards.items() if value is not NOT_GIVEN}
        self.revision = None if isinstance(revision, NotGiven) else revision
        self.expected_revision = (
            None if isinstance(expected_revision, NotGiven) else expected_revision
        )
        self.comment = comment
        # BaseOperator has a method of the name dry_run.
        self.only_show = dry_run
        self.sensitive = sensitive
        self.show_secrets = show_secrets
        self.history_max = history_max
        self.zookeeper_conn_id = zookeeper_conn_id

    def _do_render_template_fields(
        self, parent: Any, template_fields: Any, context: Any, jinja_env: Any, seen_oids: Any
    ) -> None:
        """Reads the tree's file; secrets are masked before Airflow shows what was rendered, of a
        mapped task, too."""
        named = parent is self and is_file_name(self.tree)
        super()._do_render_template_fields(parent, template_fields, context, jinja_env, seen_oids)
        if parent is self:
            if named:
                self.tree = jinja_env.get_template(self.tree).render(context)
            self._mask()

    def execute(self, context: Context) -> Any:
        self._mask()
        with ZookeeperHook(self.zookeeper_conn_id) as hook:
            store = ConfigStore(hook, self.path, history_max=self.history_max)
            if self.action == "get":
                found, value = plans.get(store, self.key, self._number("revision"))
                mask(value, key=self.key or "/", everything=self.sensitive)
                if not self.show_secrets:
                    value = hidden(value, key=self.key, everything=self.sensitive)
                return {"revision": found, "value": value}
            if self.action == "history":
                return [describe_record(record) for record in store.history()]
            return self._change(store, context)

    def _change(self, store: ConfigStore, context: Context) -> dict[str, Any]:
        plan = self._plan(store)
        for change in plan.changes:
            for value in (change.before, change.after):
                mask(value, key=change.key or "/", everything=self.sensitive)
        self.log.info(
            "%s %s%s:\n%s",
            self.action,
            self.path,
            ", dry run" if self.only_show else "",
            plan.describe(lambda key: self.sensitive or is_sensitive(key)),
        )
        revision = plan.seen.revision
        if not self.only_show:
            revision = plan.commit(_author(context), self.comment)
        return {
            "revision": revision,
            "changed": sorted(change.key or "(root)" for change in plan.changes),
            "dry_run": self.only_show,
        }

    def _plan(self, store: ConfigStore) -> plans.Plan:
        expected = self._number("expected_revision")
        if self.action == "set":
            if self.value is None:
                raise self._refuse(
                    "value is None; what should have given it was not there. For a null of JSON "
                    "give the text null"
                )
            return plans.plan_set(store, self.key, self.value, expected_revision=expected)
        if self.action == "delete":
            return plans.plan_delete(store, self.key, expected_revision=expected)
        if self.action == "apply":
            return plans.plan_apply(
                store, self.tree, keep_others=self.keep_others, expected_revision=expected
            )
        wanted = self._number("revision")
        if wanted is None:
            raise self._refuse("action rollback needs revision")
        return plans.plan_rollback(store, wanted, expected_revision=expected)

    def _number(self, name: str) -> int | None:
        """None only if it was not given: what was given and is nothing now is refused."""
        value = getattr(self, name)
        if name not in self._given and value is None:
            return None
        return arguments.revision(name, value, self._refuse)

    def _refuse(self, problem: str) -> ZookeeperInvalidValue:
        return ZookeeperInvalidValue(
            f"ZooKeeper connection {self.zookeeper_conn_id!r}: {self.path}: {problem}. Nothing "
            "was done"
        )

    def _mask(self) -> None:
        mask(self.value, key=self.key or "/", everything=self.sensitive)
        if self.tree is not None:
            mask(self.tree, everything=self.sensitive)


def is_file_name(tree: Any) -> bool:
    """Whether it is meant as the name of a file with YAML, and not as YAML."""
    return (
        isinstance(tree, str)
        and tree.endswith(_FILES)
        and not re.search(r"\n|:\s|^\s*\{(?![{%])", tree)
    )


def describe_record(record: Any) -> dict[str, Any]:
    """For people: no values."""
    return {
        "revision": record.revision,
        "when": record.when,
        "author": record.author,
        "comment": record.comment,
        "changed": sorted(key or "(root)" for key in record.before),
    }


def _author(context: Context) -> str:
    ti = context.get("ti")
    if ti is None:
        return ""
    mapped = f"[{ti.map_index}]" if ti.map_index is not None and ti.map_index >= 0 else ""
    return f"{ti.dag_id}.{ti.task_id}{mapped} {ti.run_id} try {ti.try_number}"
