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

from zk_executor.config.masking import hidden, mask
from zk_executor.config.store import ConfigStore
from zk_executor.config.tree import check_key
from zk_executor.exceptions import ZookeeperError, ZookeeperInvalidValue, ZookeeperNotFound
from zk_executor.hooks.zookeeper import ZookeeperHook
from zk_executor.operators import arguments
from zk_executor.operators.arguments import NOT_GIVEN, NotGiven
from zk_executor.triggers.zookeeper import ZnodeChangedTrigger, is_met
from zk_executor.values import encode, shown

if TYPE_CHECKING:
    from airflow.sdk import Context

_CONDITIONS = ("exists", "equals", "matches", "changed_since")


class ZookeeperConfigSensor(BaseSensorOperator):
    """Waits for one of: the key exists, equals, matches, the configuration has changed.

    :param path: the root of the tree, as for ``ZookeeperConfigOperator``.
    :param key: below it; empty for the root.
    :param equals: what the value has to be: a text, or what ``set`` stores as JSON (5, true).
    :param matches: the regular expression that the whole value has to match.
    :param changed_since: the revision of the tree (what ``get`` said) after which any change of
        the tree counts. With none of the three, the key has to exist. What was given has to be
        there when it is rendered: None is refused.
    :param deferrable: wait in the triggerer. Otherwise look every ``poke_interval``.
    :param show_secrets: return the value of a sensitive key, which Airflow then keeps in XCom in
        clear; without it, it is ***.

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
        equals: Any = NOT_GIVEN,
        matches: str | NotGiven | None = NOT_GIVEN,
        changed_since: int | str | NotGiven | None = NOT_GIVEN,
        show_secrets: bool = False,
        deferrable: bool = True,
        zookeeper_conn_id: str = ZookeeperHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        conditions = {"equals": equals, "matches": matches, "changed_since": changed_since}
        given = [name for name, value in conditions.items() if value is not NOT_GIVEN]
        if len(given) > 1:
            raise ValueError(f"give one of {', '.join(_CONDITIONS[1:])}")
        self.path = path
        self.key = key
        self._awaited = given[0] if given else "exists"
        self.equals = None if equals is NOT_GIVEN else equals
        self.matches = None if isinstance(matches, NotGiven) else matches
        self.changed_since = None if isinstance(changed_since, NotGiven) else changed_since
        self.show_secrets = show_secrets
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
        if self._awaited == "changed_since":
            wanted = arguments.revision("changed_since", self.changed_since, self._refuse)
            hook.call("sync", self.path)
            revision = store.revision()
            stat = hook.call("exists", store.head_path)
            return revision > wanted, revision, stat.mzxid if stat else 0
        condition, value = self._condition()
        try:
            path = store.path_of(check_key(self.key))
            hook.call("sync", path)
            data, stat = hook.call("get", path)
        except ZookeeperNotFound:
            return False, None, 0
        except ZookeeperInvalidValue as error:
            raise type(error)(f"{store.where}: {error}") from None
        found = shown(data or b"")
        mask(found, key=self.key or "/")
        met = condition == "exists" or is_met(condition, value, data or b"")
        return met, found if self.show_secrets else hidden(found, key=self.key), stat.mzxid

    def _condition(self) -> tuple[str, Any]:
        """What to wait for, as the trigger knows it: of a value that is no text, ``shown``."""
        if self._awaited == "exists":
            return "exists", None
        wanted = getattr(self, self._awaited)
        if wanted is None:
            raise self._refuse(f"{self._awaited} is None; what should have given it was not there")
        if self._awaited == "equals":
            try:
                return "equals", shown(encode(wanted))
            except ZookeeperInvalidValue as error:
                raise self._refuse(f"equals: {error}") from None
        try:
            re.compile(wanted)
        except (re.error, TypeError) as error:
            raise self._refuse(f"matches is no regular expression: {error}") from None
        return "matches", wanted

    def _trigger(self, since: int) -> ZnodeChangedTrigger:
        conn_id = self.zookeeper_conn_id
        if self._awaited == "changed_since":
            return ZnodeChangedTrigger(
                self.path, conn_id=conn_id, tree=True, since=since, once=True
            )
        base = "" if self.path == "/" else self.path
        path = f"{base}/{self.key}" if self.key else self.path
        condition, value = self._condition()
        return ZnodeChangedTrigger(
            path, conn_id=conn_id, condition=condition, value=value, once=True
        )

    def _refuse(self, problem: str) -> ZookeeperInvalidValue:
        return ZookeeperInvalidValue(
            f"ZooKeeper connection {self.zookeeper_conn_id!r}: {self.path}: {problem}"
        )
