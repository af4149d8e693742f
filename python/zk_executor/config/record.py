# SPDX-License-Identifier: Apache-2.0
"""What is kept of each revision: who, when, why, and the values from before. Pure.

A record undoes its revision. Undoing the newest ones, one after the other, gives any older tree.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable
from dataclasses import dataclass

from zk_executor.config.diff import Change


@dataclass(frozen=True)
class Record:
    """Of one revision. ``id`` is unique: it tells a change that arrived from one that did not."""

    revision: int
    id: str
    when: str
    author: str
    comment: str
    before: dict[str, bytes | None]

    def encode(self) -> bytes:
        text = {
            "revision": self.revision,
            "id": self.id,
            "when": self.when,
            "author": self.author,
            "comment": self.comment,
            "before": {key: _text(value) for key, value in self.before.items()},
        }
        return zlib.compress(json.dumps(text, ensure_ascii=False).encode())


def decode(data: bytes) -> Record:
    """Errors: ValueError."""
    try:
        text = json.loads(zlib.decompress(data))
        before = {key: _bytes(value) for key, value in text.pop("before").items()}
        return Record(before=before, **text)
    except (zlib.error, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a record of a configuration: {error!r}") from None


def before_of(changes: Iterable[Change]) -> dict[str, bytes | None]:
    return {change.key: change.before for change in changes}


def name_of(revision: int) -> str:
    """Of the record's znode."""
    return f"r{revision:010d}"


def _text(value: bytes | None) -> list[str] | None:
    if value is None:
        return None
    try:
        return ["text", value.decode()]
    except UnicodeDecodeError:
        return ["base64", base64.b64encode(value).decode()]


def _bytes(value: list[str] | None) -> bytes | None:
    if value is None:
        return None
    kind, text = value
    return text.encode() if kind == "text" else base64.b64decode(text)
