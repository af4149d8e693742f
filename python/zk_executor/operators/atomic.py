# SPDX-License-Identifier: Apache-2.0
"""``ZookeeperAtomicOperator``: a change of znodes that is made once, entirely or not at all.

Errors: ZookeeperAtomicConflict (a stale version and the like: nothing was changed),
ZookeeperAtomicUnknown, ZookeeperAtomicError. Session: see atomic_core.py.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from airflow.sdk import BaseOperator

from zk_executor.config.masking import hidden, is_sensitive, mask
from zk_executor.exceptions import ZookeeperInvalidValue
from zk_executor.locks.sessions import close_client, open_client
from zk_executor.operators import arguments
from zk_executor.operators.atomic_core import Atomic, Operation
from zk_executor.operators.atomic_errors import ZookeeperAtomicError
from zk_executor.values import encode, shown

if TYPE_CHECKING:
    from airflow.sdk import Context

Action = Literal["compare_and_set", "add", "create_if_absent", "transaction"]
_VERBS = ("create", "set", "delete", "check")


class ZookeeperAtomicOperator(BaseOperator):
    """Returns a dict with ``version`` and ``zxid`` of the change, and by action:

    :param action: ``compare_and_set``: sets ``value`` if the znode is at ``version``;
        ``add``: adds ``amount`` to a counter, which begins at 0, returns ``value`` too;
        ``create_if_absent``: returns ``created`` too, and the value and version that stand there;
        ``transaction``: does all ``operations`` or none, returns ``versions`` by path.
    :param path: the znode (not for transaction).
    :param value: a text is stored as it is, everything else as JSON, as in configurations.
    :param operations: mappings with ``verb`` (create, set, delete, check), ``path`` and, as they
        need it, ``value`` and ``version``. A ``version`` that is named has to be a number.
    :param show_secrets: have ``create_if_absent`` return the value that stands at a path which
        Airflow calls sensitive; without it, it is ***.
    :param timeout: seconds for which it goes on while ZooKeeper is away.
    """

    template_fields: Sequence[str] = (
        "path",
        "value",
        "version",
        "amount",
        "operations",
        "zookeeper_conn_id",
    )
    ui_color: ClassVar[str] = "#e4f0d8"

    def __init__(
        self,
        *,
        action: Action,
        path: str | None = None,
        value: Any = None,
        version: int | str | None = None,
        amount: int | str = 1,
        operations: Sequence[Mapping[str, Any]] | str | None = None,
        show_secrets: bool = False,
        zookeeper_conn_id: str = "zookeeper_default",
        timeout: float = 60.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.action = action
        self.path = path
        self.value = value
        self.version = version
        self.amount = amount
        self.operations = operations
        self.show_secrets = show_secrets
        self.zookeeper_conn_id = zookeeper_conn_id
        self.timeout = timeout

    def _do_render_template_fields(self, parent: Any, *args: Any, **kwargs: Any) -> None:
        """Secrets are masked before Airflow shows what was rendered, of a mapped task, too."""
        super()._do_render_template_fields(parent, *args, **kwargs)
        if parent is self and isinstance(self.path, str):
            mask(self.value, key=self.path, everything=is_sensitive(self.path))

    def execute(self, context: Context) -> dict[str, Any]:
        do = {
            "compare_and_set": self._compare_and_set,
            "add": self._add,
            "create_if_absent": self._create_if_absent,
            "transaction": self._transaction,
        }.get(self.action)
        if do is None:
            raise ZookeeperAtomicError(f"{self.action!r} is no action of {type(self).__name__}")
        client = open_client(self.zookeeper_conn_id)
        try:
            return do(Atomic(client, self.zookeeper_conn_id, self.timeout))
        finally:
            close_client(client)

    def _compare_and_set(self, atomic: Atomic) -> dict[str, Any]:
        path = self._required("path", self.path)
        version = self._integer("version", self._required("version", self.version))
        if version < 0:
            raise self._refuse("compare_and_set needs the version that you read")
        change = atomic.compare_and_set(
            path, self._value(path, self._required("value", self.value)), version
        )
        return {"version": change.versions[path], "zxid": change.zxid}

    def _add(self, atomic: Atomic) -> dict[str, Any]:
        path = self._required("path", self.path)
        value, change = atomic.add(path, self._integer("amount", self.amount))
        return {"value": value, "version": change.versions[path], "zxid": change.zxid}

    def _create_if_absent(self, atomic: Atomic) -> dict[str, Any]:
        path = self._required("path", self.path)
        created, change = atomic.create_if_absent(
            path, self._value(path, "" if self.value is None else self.value)
        )
        data, version = atomic.read(path) or (b"", 0)
        return {
            "created": created,
            "value": shown(data) if self.show_secrets else hidden(shown(data), key=path),
            "version": version,
            "zxid": change.zxid if change else None,
        }

    def _transaction(self, atomic: Atomic) -> dict[str, Any]:
        steps = []
        operations = self._required("operations", self.operations)
        for number, given in enumerate(arguments.items("operations", operations, self._refuse)):
            verb = given.get("verb") if isinstance(given, Mapping) else None
            if verb not in _VERBS or not isinstance(given.get("path"), str):
                raise self._refuse(
                    f"operation {number + 1} is none: it needs a verb ({', '.join(_VERBS)}) and a "
                    "path"
                )
            path = given["path"]
            version = self._integer("version", given.get("version", -1), path)
            value = self._value(path, given.get("value", ""))
            steps.append(Operation(verb, path, value, version))
        change = atomic.apply(steps)
        return {"versions": change.versions, "version": None, "zxid": change.zxid}

    def _required(self, name: str, value: Any) -> Any:
        if value is None:
            raise self._refuse(f"action {self.action} needs {name}, and it is None")
        return value

    def _integer(self, name: str, value: Any, path: str = "") -> int:
        return arguments.integer(f"{path} {name}".strip(), value, self._refuse)

    def _value(self, path: str, value: Any) -> bytes:
        try:
            return encode(value)
        except ZookeeperInvalidValue as error:
            raise self._refuse(f"the value for {path}: {error}") from None

    def _refuse(self, problem: str) -> ZookeeperAtomicError:
        return ZookeeperAtomicError(
            f"{self.path or 'transaction'} (connection {self.zookeeper_conn_id}): {problem}. "
            "Nothing was changed"
        )
