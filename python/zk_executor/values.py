# SPDX-License-Identifier: Apache-2.0
"""What may be stored in a znode, and what is read from one. Pure; any thread.

The one place for values: configuration, atomic changes, sensors and triggers store and compare by
these rules. A text is stored as it is, in UTF-8, and bytes as they are; numbers, true, false, null,
lists and mappings as JSON. Everything else is refused: a date, say, has no JSON, and whoever writes
one decides better than we do what its text is.

A value is read as its text. One that is no text, which JSON cannot carry, is shown as
``{"!!binary": "<base64>"}``, and stored again as the same bytes.

Errors: ZookeeperInvalidValue, which says what is wrong, and not the value: it may be a secret. The
caller adds connection and path.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from zk_executor.exceptions import ZookeeperInvalidValue

BINARY = "!!binary"
# Stands where a secret was hidden, and so is never stored: it would replace the secret.
HIDDEN = "***"
# Lists and mappings within each other; deeper ones some readers of JSON could not read.
DEPTH_MAX = 50


class Written(str):
    """A scalar of YAML or JSON without quotes, as it was written: 1.10, yes, 2026-01-01."""

    __slots__ = ()


def encode(value: Any) -> bytes:
    """What is stored for a value."""
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return utf8(value)
    if is_binary(value):
        return from_binary(value)
    try:
        return utf8(json.dumps(_plain(value), ensure_ascii=False, allow_nan=False))
    except ValueError:
        raise ZookeeperInvalidValue("a number that JSON does not have cannot be stored") from None


def utf8(text: str) -> bytes:
    """The text in UTF-8."""
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise ZookeeperInvalidValue(
            f"a text with a lone surrogate (character {error.start + 1}) cannot be stored: UTF-8 "
            "has none"
        ) from None


def shown(value: bytes | None) -> Any:
    """The text of a value, or its bytes as ``{"!!binary": …}``; None if there is none."""
    if value is None:
        return None
    text = text_of(value)
    return {BINARY: base64.b64encode(value).decode()} if text is None else text


def text_of(value: bytes) -> str | None:
    """None if it is no text."""
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def told(value: bytes) -> str:
    """For people: the text, or how many bytes it has."""
    text = text_of(value)
    return f"<{len(value)} bytes>" if text is None else text


def is_binary(value: Any) -> bool:
    """Whether it is meant as the bytes of a value, and not as a mapping."""
    return isinstance(value, Mapping) and len(value) == 1 and BINARY in value


def from_binary(value: Mapping[str, Any]) -> bytes:
    """The bytes that ``shown`` made into a mapping."""
    try:
        return base64.b64decode("".join(value[BINARY].split()), validate=True)
    except (AttributeError, TypeError, binascii.Error, ValueError):
        raise ZookeeperInvalidValue(f"what stands beside {BINARY} is no base64") from None


def _plain(value: Any, depth: int = 0) -> Any:
    """The value, if JSON can carry all of it and gives it back equal."""
    if depth > DEPTH_MAX:
        raise ZookeeperInvalidValue(
            f"a value with more than {DEPTH_MAX} lists or mappings within each other cannot be "
            "stored"
        )
    if isinstance(value, Written):
        return _resolved(value)
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if isinstance(value, (list, tuple)):
        return [_plain(item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        if not all(isinstance(name, str) for name in value):
            raise ZookeeperInvalidValue("in JSON the names of a mapping are texts: quote them")
        return {str(name): _plain(item, depth + 1) for name, item in value.items()}
    raise ZookeeperInvalidValue(
        f"a value of type {type(value).__name__} cannot be stored: write it as a text"
    )


def _resolved(written: Written) -> Any:
    """The value of a scalar within a list, where JSON has to write it again."""
    try:
        value = json.loads(written)
        same = json.dumps(value, allow_nan=False) == written
    except ValueError:
        same = False
    if not same:
        raise ZookeeperInvalidValue(
            "a list is stored as JSON, which would write one of its items in another way (YAML "
            "takes 1.10 for a number, yes for true, 2026-01-01 for a date): quote it to keep it "
            "as it is"
        )
    return value
