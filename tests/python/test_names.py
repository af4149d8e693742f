# SPDX-License-Identifier: Apache-2.0
"""Which names and paths are refused, wherever they enter, and that the reason is said. No I/O."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from zk_executor import exceptions, names
from zk_executor.config.tree import check_key
from zk_executor.hooks.login import read_login
from zk_executor.locks import zk_barrier, zk_lock
from zk_executor.secrets.zookeeper import ZookeeperSecretsBackend, candidates
from zk_executor.triggers.zookeeper import ZnodeChangedTrigger

REFUSED = [
    ("a//b", "empty"),
    ("a/./b", "empty, . or .."),
    ("a/../b", "empty, . or .."),
    ("a\nb", "U+000A"),
    ("a\x00", "U+0000"),
    ("a\x7f", "U+007F"),
    ("a\x9f", "U+009F"),
    ("a\ud800", "U+D800, which has no UTF-8 form"),
    ("\udfffa", "U+DFFF"),
    ("a\ue000", "U+E000"),
    ("a\uf8ff", "U+F8FF"),
    ("a\ufff0", "U+FFF0"),
    ("a\uffff", "U+FFFF"),
    ("a\U0001f600", "U+1F600"),
    ("é" * 20_000, "40000 bytes, more than 32768"),
]
TAKEN = ["a", "a b", "...", "a.", ".a", "%2F", "ключ/鍵", "\u00a0", "\u2028", "\uf900", "\uffef"]


@pytest.mark.parametrize(("key", "says"), REFUSED)
def test_what_no_znode_can_be_called_is_refused_at_every_entrance_with_the_reason(
    key: str, says: str
) -> None:
    path = f"/{key}"
    assert says in names.path_problem(path)
    with pytest.raises(exceptions.ZookeeperInvalidPath) as caught:
        exceptions.check_path(path, conn_id="my_conn")
    said = [str(caught.value)]
    with pytest.raises(exceptions.ZookeeperInvalidPath) as caught:
        ZnodeChangedTrigger(path, conn_id="my_conn")
    said.append(str(caught.value))
    for make in (lambda: zk_lock(path), lambda: zk_barrier(path, 2)):
        with pytest.raises(exceptions.ZookeeperError) as caught:
            make()
        said.append(str(caught.value))
    with pytest.raises(exceptions.ZookeeperInvalidValue) as caught:
        check_key(key)
    said.append(str(caught.value))
    fields = {"login": "", "password": "", "port": None, "extra_dejson": {}}
    connection = SimpleNamespace(conn_type="zookeeper", host="zk1", schema=path, **fields)
    with pytest.raises(exceptions.ZookeeperInvalidConnection) as caught:
        read_login(connection, "my_conn")
    said.append(str(caught.value))
    with pytest.raises(ValueError, match="variables_path") as refused:
        ZookeeperSecretsBackend(variables_path=path)
    said.append(str(refused.value))
    for text in said:
        assert says in text
        text.encode()  # it can be logged
        assert len(text) < 600, "a name is not repeated in full length"


@pytest.mark.parametrize("key", TAKEN)
def test_what_znodes_can_be_called_is_taken(key: str) -> None:
    assert names.path_problem(f"/{key}") == names.key_problem(key) == ""
    assert check_key(key) == key
    assert candidates("/v", key, None) == [f"/v/{key.replace('%', '%25').replace('/', '%2F')}"]


@pytest.mark.parametrize(("key", "says"), REFUSED)
def test_a_secret_of_a_name_that_no_znode_can_have_is_not_asked_for(key: str, says: str) -> None:
    name = key.rpartition("/")[2] if "/" in key and "//" not in key else key.replace("/", "")
    if names.part_problem(name):
        assert candidates("/v", name, None) == []
        assert candidates("/v", "a", name) == ["/v/a"], "nor of such a team"


@pytest.mark.parametrize("path", ["a/b", "", "/a/", "//", None, 5, b"/a"])
def test_what_is_no_absolute_path_is_refused(path: object) -> None:
    with pytest.raises(exceptions.ZookeeperInvalidPath, match="'my_conn'.*is no path"):
        exceptions.check_path(path, conn_id="my_conn")
    assert exceptions.check_path("/", conn_id="my_conn") == "/"


def test_a_name_is_one_part_of_a_path() -> None:
    assert names.part_problem("a") == ""
    for name in ("a/b", "", ".", ".."):
        assert names.part_problem(name)
