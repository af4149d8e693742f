# SPDX-License-Identifier: Apache-2.0
"""``ZookeeperConfigSensor``: waits until a configuration is as it has to be.

Deferred unless told otherwise: the triggerer waits, with a watch, and no worker slot is held.
Errors: ZookeeperError; AirflowException when it took too long. Session: see the trigger.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseSensorOperator, PokeReturnValue

from zk_executor.config.masking import mask
from zk_executor.config.store import ConfigStore
from zk_executor.config.tree import check_key, shown
from zk_executor.exceptions import ZookeeperError, ZookeeperInvalidValue, ZookeeperNotFound
from zk_executor.hooks.zookeeper import ZookeeperHook
from zk_executor.triggers.zookeeper import ZnodeChangedTrigger, is_met

if TYPE_CHECKING:
    from airflow.sdk import Context

_CONDITIONS = ("exists", "equals", "matches", "changed_since")


class ZookeeperConfigSensor(BaseSensorOperator):
    """Waits for one of: the key exists, equals, matches, the configuration has changed.

    :param path: the root of the tree, as for ``ZookeeperConfigOperator``.
    :param key: below it; empty for the root.
    :param equals: the text that the value has to be.
    :param matches: the regular expression that the whole value has to match.
    :param changed_since: the revision of the tree (what ``get`` said) after which any change of
        the tree counts. With none of the three, the key has to exist.
    :param deferrable: wait in the triggerer. Otherwise look every ``poke_interval``.

    Returns the value, or the revision for ``changed_since``.
    """

    template_fields: Sequence[str] = (
        "path",
        "key",
        "equals",
        "matches",
        "changed_since",
        "zookeeper_conn_id",
    )
    ui_color: ClassVar[str] = "#d8e6f0"

    def __init__(
        self,
        *,
        path: str,
        key: str = "",
        equals: str | None = None,
        matches: str | None = None,
        changed_since: int | str | None = None,
        deferrable: bool = True,
        zookeeper_conn_id: str = ZookeeperHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        if sum(given is not None for given in (equals, matches, changed_since)) > 1:
            raise ValueError(f"give one of {', '.join(_CONDITIONS[1:])}")
        self.path = path
        self.key = key
        self.equals = equals
        self.matches = matches
        self.changed_since = changed_since
        self.deferrable = deferrable
        self.zookeeper_conn_id = zookeeper_conn_id

    def execute(self, context: Context) -> Any:
        if not self.deferrable:
            return super().execute(context)
        with ZookeeperHook(self.zookeeper_conn_id) as hook:
            met, result, since = self._look(hook)
        if met:
            return result
        self.defer(
            trigger=self._trigger(since),
            method_name="execute_complete",
            timeout=timedelta(seconds=self.timeout),
        )

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """After the trigger. What it saw may be gone again: then it waits once more."""
        if event.get("status") == "error":
            raise ZookeeperError(event["message"])
        return self.execute(context)

    def poke(self, context: Context) -> PokeReturnValue:
        with ZookeeperHook(self.zookeeper_conn_id) as hook:
            met, result, _ = self._look(hook)
        return PokeReturnValue(is_done=met, xcom_value=result)

    def _look(self, hook: ZookeeperHook) -> tuple[bool, Any, int]:
        """Whether it is so, what to return, and the mzxid of what the trigger is to watch."""
        store = ConfigStore(hook, self.path)
        if self.changed_since is not None:
            hook.call("sync", self.path)
            revision = store.revision()
            stat = hook.call("exists", store.head_path)
            return revision > self._revision(), revision, stat.mzxid if stat else 0
        try:
            path = store.path_of(check_key(self.key))
            hook.call("sync", path)
            data, stat = hook.call("get", path)
        except ZookeeperNotFound:
            return False, None, 0
        except ZookeeperInvalidValue as error:
            raise type(error)(f"{store.where}: {error}") from None
        condition, value = self._condition()
        mask(shown(data or b""), key=self.key or "/")
        met = condition == "exists" or is_met(condition, value, data or b"")
        return met, shown(data or b""), stat.mzxid

    def _condition(self) -> tuple[str, str | None]:
        if self.equals is not None:
            return "equals", self.equals
        if self.matches is not None:
            try:
                re.compile(self.matches)
            except re.error as error:
                raise ZookeeperInvalidValue(
                    f"matches = {self.matches!r} is no regular expression: {error}"
                ) from None
            return "matches", self.matches
        return "exists", None

    def _trigger(self, since: int) -> ZnodeChangedTrigger:
        conn_id = self.zookeeper_conn_id
        if self.changed_since is not None:
            return ZnodeChangedTrigger(
                self.path, conn_id=conn_id, tree=True, since=since, once=True
            )
        base = "" if self.path == "/" else self.path
        path = f"{base}/{self.key}" if self.key else self.path
        condition, value = self._condition()
        return ZnodeChangedTrigger(
            path, conn_id=conn_id, condition=condition, value=value, once=True
        )

    def _revision(self) -> int:
        try:
            return int(str(self.changed_since))
        except ValueError:
            raise ZookeeperInvalidValue(
                f"ZooKeeper connection {self.zookeeper_conn_id!r}: {self.path}: changed_since is "
                f"{self.changed_since!r}; it must be the number of a revision"
            ) from None
