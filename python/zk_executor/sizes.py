# SPDX-License-Identifier: Apache-2.0
"""How large a value and a request may be. The one place that knows; any thread.

ZooKeeper closes the connection of a client that sends more than its jute.maxbuffer, without a word;
kazoo then reports a lost connection. So what is too large is refused here, before it is sent.
Errors: ZookeeperValueTooLarge.
"""

from __future__ import annotations

from typing import Any

from kazoo.client import TransactionRequest
from kazoo.protocol.serialization import Transaction

from zk_executor.exceptions import ZookeeperValueTooLarge

# Of a server with default settings, in bytes: jute.maxbuffer is 0xfffff. It compares that with
# the request behind its length.
REQUEST_BYTES_MAX = 0xFFFFF
# Of one znode; with its path (names.PATH_BYTES_MAX) and its ACL it fits into a request.
VALUE_BYTES_MAX = 1_000_000
_REQUEST_HEADER_BYTES = 8


def check_value(value: bytes, where: str) -> bytes:
    """The value, if a server takes it. ``where`` begins the message: connection and path."""
    if len(value) > VALUE_BYTES_MAX:
        raise ZookeeperValueTooLarge(
            f"{where}: the value has {len(value)} bytes, more than a znode takes "
            f"({VALUE_BYTES_MAX}). Nothing was done. Keep it elsewhere, and its address here"
        )
    return value


def request_bytes(transaction: TransactionRequest) -> int:
    """What a transaction that has all its operations is on the wire, behind its length."""
    return _REQUEST_HEADER_BYTES + len(Transaction(transaction.operations).serialize())


def fits(transaction: TransactionRequest) -> bool:
    return request_bytes(transaction) <= REQUEST_BYTES_MAX


def check_request(transaction: TransactionRequest, where: str, what: str, instead: str) -> None:
    """``what`` says what it is made of, ``instead`` what to do about it."""
    size = request_bytes(transaction)
    if size > REQUEST_BYTES_MAX:
        raise ZookeeperValueTooLarge(
            f"{where}: {what} take {size} bytes; one transaction takes {REQUEST_BYTES_MAX} "
            f"(jute.maxbuffer of a server with default settings). Nothing was done. {instead}"
        )


def check_arguments(arguments: Any, where: str) -> None:
    """Of a call of the hook: whatever is bytes among them is a value."""
    for argument in arguments:
        if isinstance(argument, bytes):
            check_value(argument, where)
