# SPDX-License-Identifier: Apache-2.0
"""Tasks that print and log, secrets among it."""

from __future__ import annotations

import logging
import os
import sys
import warnings
from typing import Any

import structlog
from airflow.sdk import Connection, Variable
from airflow.sdk.log import mask_secret

from conformance_tasks import plan

JWT = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P"


def raw_output(ti: Any) -> None:
    """Bytes straight to the descriptors. The plan has a list of (descriptor, text as latin-1)."""
    for descriptor, text, times in plan.read(ti)["writes"]:
        rest = memoryview(text.encode("latin-1") * times)
        while rest:
            rest = rest[os.write(descriptor, rest) :]


def output_then_death() -> None:
    """The last fragment of a line comes with the end of the process."""
    os.write(1, b"a whole line\nhalf a li")
    os.write(2, b"an error without end")
    os._exit(1)


def printed_lines() -> None:
    print("one\ntwo\n\nfour")
    print("  spaces before and behind  \t")
    print("\x1b[31mred\x1b[0m \x00 \x07 \u2028 é 漢字 \U0001f600 \\ \" '")
    print('{"json": "looks like a log line", "level": "error"}')
    print("to stderr", file=sys.stderr)
    warnings.warn("a warning", UserWarning, stacklevel=1)


def logged_lines() -> None:
    """Every level, arguments, extras and exceptions, by both logging systems."""
    plain = logging.getLogger("conformance.plain")
    for level in ("debug", "info", "warning", "error", "critical"):
        getattr(plain, level)("plain %s %d é", level, 7)
    plain.log(25, "a level between")
    plain.info("with extra", extra={"color": "green"})
    plain.info("")
    plain.info("several\nlines\n")
    plain.info("control \x00\x1b[0m\x7f characters")
    plain.info("not in UTF-8: \udcff")
    _logged_exceptions(plain)
    bound = structlog.get_logger("conformance.bound")
    bound.info("bound", z=1, a=1.0, nested={"z": [1, None], "a": {"deep": True}}, nothing=None)
    bound.warning("numbers", huge=2**70, small=-(2**63), real=1e300, tiny=5e-324, exact=0.1)
    bound.info("odd", infinity=float("inf"), nan=float("nan"))
    bound.error("objects", kind=object, raw=b"\xff\x00", many={"one"})
    bound.info("reserved", level="x", logger="z", exception="not one")
    bound.info("keys", **{"with space": 1, "é": 2, "": 3, 'quote"': 4})


def logged_bad_timestamp() -> None:
    """A value that is named as the line's own timestamp and is none."""
    structlog.get_logger("conformance.bound").info("reserved", timestamp="y")
    print("after")


def _logged_exceptions(plain: logging.Logger) -> None:
    try:
        {}["missing"]
    except KeyError:
        plain.exception("caught")
        plain.warning("with exc_info", exc_info=True)
    try:
        try:
            raise OSError(2, "No such file", "name")
        except OSError as error:
            raise RuntimeError("outer") from error
    except RuntimeError:
        plain.error("chained", exc_info=True)


def long_lines() -> None:
    """Lines around the sizes of buffers, printed and logged."""
    for size in (4094, 4095, 4096, 4097, 65535, 65536, 300_000):
        print("p" * size)
        logging.getLogger("conformance.long").info("l" * size)
    for number in range(500):
        print(f"line {number}")


def masked_secrets() -> None:
    """Secrets told by mask_secret, then written in every way."""
    mask_secret("plain-secret-1")
    mask_secret({"password": "dict-secret-2", "harmless": "not hidden", "n": {"token": "deep-3"}})
    mask_secret(["list-secret-4", {"api_key": "list-deep-5"}], "password")
    mask_secret("only-if-name-is-sensitive", "harmless_name")
    mask_secret("sensitive-by-name-6", "my_PassWord")
    mask_secret("tiny")
    mask_secret("")
    mask_secret("airflow")
    mask_secret("with (regex.* characters) [7]")
    mask_secret("sécrét-é-8")
    mask_secret("aaaaa")
    mask_secret("aaaaabbbbb")
    mask_secret("two\nlines-9")
    _write_all(
        *("plain-secret-1", "xplain-secret-1y plain-secret-1plain-secret-1", "Plain-Secret-1"),
        *("dict-secret-2", "not hidden", "deep-3", "list-secret-4", "list-deep-5"),
        *("only-if-name-is-sensitive", "sensitive-by-name-6", "tiny", "airflow"),
        *("with (regex.* characters) [7]", "sécrét-é-8", "aaaaabbbbbaaaaa", "two\nlines-9"),
    )
    bound = structlog.get_logger("conformance.bound")
    bound.info("in values", one="plain-secret-1", many=["x", "list-secret-4"], number=5)
    bound.info("by key", password="anything", token=17, nested={"api_key": ["a", {"b": "c"}]})
    bound.info("by key", harmless={"secret": {"inner": "x", "more": ["y"]}}, authorization="z")
    bound.info("key", **{"plain-secret-1": "value"})
    deep: Any = "plain-secret-1"
    for level in range(8):
        deep = {f"level{level}": deep}
    bound.info("deep", deep=deep)
    logging.getLogger("plain-secret-1").info("in the name of the logger")
    try:
        raise ValueError("plain-secret-1 in an exception")
    except ValueError:
        bound.exception("caught plain-secret-1")


def _write_all(*texts: str) -> None:
    for text in texts:
        print(text)
        print(text, file=sys.stderr)
        logging.getLogger("conformance.mask").info("logged %s", text)


def tokens_in_output() -> None:
    """What looks like a JWT."""
    _write_all(JWT, f"Bearer {JWT}, and more", f"{JWT} {JWT}", "eyJ", "eyJ.", "xeyJabc")
    bound = structlog.get_logger("conformance.bound")
    bound.info("values", one=JWT, nested={"two": JWT}, many=[JWT])


def secrets_of_server() -> None:
    """A connection and variables from the API server, whose secrets it must not show."""
    connection = Connection.get("a_connection")
    _write_all(connection.password, connection.extra, connection.get_uri())
    _write_all("extra-token", "extra-plain", "connection-password")
    for key in ("harmless", "my_password", "api_key"):
        _write_all(f"{key}: {Variable.get(key)}")


def templated_values(**values: Any) -> None:
    print(sorted(values))


def mapped_value(value: str) -> str:
    print("mapped", value)
    return value
