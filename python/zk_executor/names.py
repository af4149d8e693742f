# SPDX-License-Identifier: Apache-2.0
"""Which names and paths a znode can have. The one place that knows; pure, any thread.

Every name that comes from outside is looked at here before it is asked for: a server refuses some
(BadArguments), and a text that has no UTF-8 form can't be sent at all. Each function returns what
is wrong, in words that go behind "is no path: ", or nothing; the caller raises its own error, with
the connection's name. Loaded while Airflow reads its configuration: imports nothing.
"""

from __future__ import annotations

import re

# With it a value of 1,000,000 bytes, a chroot and an ACL fit into the largest request that a server
# with default settings takes (jute.maxbuffer, 1,048,575 bytes).
PATH_BYTES_MAX = 32_768
_SHOWN_MAX = 200

# What ZooKeeper's PathUtils.validatePath refuses. It looks at UTF-16, where a character above
# U+FFFF is two surrogates.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_SURROGATE = re.compile("[\ud800-\udfff]")
_REFUSED = re.compile("[\ue000-\uf8ff\ufff0-\U0010ffff]")


def path_problem(path: object) -> str:
    """Of an absolute path; the root is one."""
    if not isinstance(path, str):
        return f"a path is a text, not of type {type(path).__name__}"
    if not path.startswith("/"):
        return "a path begins with a slash"
    if path == "/":
        return ""
    if path.endswith("/"):
        return "a path has no slash at its end"
    return _parts_problem(path[1:])


def key_problem(key: object) -> str:
    """Of a path below another one, without a slash at its beginning: one name or more."""
    if not isinstance(key, str):
        return f"it is not a text but of type {type(key).__name__}"
    if key.startswith("/"):
        return "it has a slash at its beginning"
    return _parts_problem(key)


def part_problem(name: object) -> str:
    """Of one name, which is one part of a path."""
    if isinstance(name, str) and "/" in name:
        return "it has a slash"
    return key_problem(name)


def quoted(name: object) -> str:
    """For a message: in quotes, every character fit to be printed, and not too long."""
    text = repr(name)
    return text if len(text) <= _SHOWN_MAX else f"{text[:_SHOWN_MAX]}… ({len(text)} characters)"


def _parts_problem(text: str) -> str:
    for part in text.split("/"):
        if part in ("", ".", ".."):
            return "a part of it is empty, . or .."
    if found := _CONTROL.search(text):
        return f"it has a control character, {_shown(found)}"
    if found := _SURROGATE.search(text):
        return f"it has half of a character, {_shown(found)}, which has no UTF-8 form"
    if found := _REFUSED.search(text):
        return f"it has {_shown(found)}, and ZooKeeper takes no such character in a name"
    if (size := len(text.encode())) > PATH_BYTES_MAX:
        return f"it has {size} bytes, more than {PATH_BYTES_MAX}"
    return ""


def _shown(found: re.Match[str]) -> str:
    return f"U+{ord(found.group()):04X}"
