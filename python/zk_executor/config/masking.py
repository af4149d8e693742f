# SPDX-License-Identifier: Apache-2.0
"""Which values of a configuration are secret, and keeping those out of logs. Threads: any.

A key is secret if Airflow calls one of its parts sensitive: password, token, api_key … and what
[core] sensitive_var_conn_names adds.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow.sdk.log import mask_secret, redact

from zk_executor.config.tree import parse
from zk_executor.exceptions import ZookeeperInvalidValue
from zk_executor.values import HIDDEN, is_binary

_SAMPLE = "a sample that is no secret"


def is_sensitive(key: str) -> bool:
    """Whether Airflow would hide a variable of that name."""
    return any(redact(_SAMPLE, part) != _SAMPLE for part in key.split("/") if part)


def hidden(value: Any, *, key: str = "", everything: bool = False) -> Any:
    """The value, or the dict of values, with *** for those that are secret."""
    if isinstance(value, Mapping) and not is_binary(value):
        return {
            name: hidden(
                item, key=f"{key}/{name}" if key and name else key or name, everything=everything
            )
            for name, item in value.items()
        }
    secret = value not in (None, "") and (everything or is_sensitive(key))
    return HIDDEN if secret else value


def mask(source: Any, *, key: str = "", everything: bool = False) -> None:
    """Has Airflow hide the secret values of a value, a dict or YAML text from now on."""
    if isinstance(source, str) and key == "" and not everything:
        try:
            source = {name: value.decode() for name, value in parse(source).items()}
        except (ZookeeperInvalidValue, UnicodeDecodeError):
            return  # said when it is used
    if isinstance(source, Mapping):
        for name, value in source.items():
            mask(value, key=f"{key}/{name}" if key else str(name) or "/", everything=everything)
    elif source is not None and (everything or is_sensitive(key)):
        text = source.decode(errors="replace") if isinstance(source, bytes) else str(source)
        if text:
            mask_secret(text)
