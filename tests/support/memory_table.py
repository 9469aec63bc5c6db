"""The queue's table in memory, in DynamoDB's place: it answers the calls of botocore's clients, without HTTP.

``fake_dynamo.py`` does what a call asks for. What DynamoDB would refuse is refused here. moto does that
too, but takes ten times as long; ``tests/unit/test_memory_table.py`` compares the two.
"""

from __future__ import annotations

import base64
import io
import json
import re
from collections.abc import Callable, Iterator, Mapping
from random import Random
from typing import Any

from botocore import xform_name
from botocore.awsrequest import AWSResponse
from botocore.compat import HTTPHeaders
from botocore.exceptions import ClientError
from moto.dynamodb.parsing.reserved_keywords import ReservedKeywords

from tests.support.capacity import Capacity
from tests.support.fake_dynamo import FakeDynamo
from tests.support.fake_rows import Rows
from tests.support.meter import Meter
from tests.support.stream import Stream, StreamedRows
from tests.support.turns import Turns

MAX_ITEM_BYTES = 400 * 1024
_EXPRESSIONS = (
    "ConditionExpression",
    "FilterExpression",
    "KeyConditionExpression",
    "ProjectionExpression",
    "UpdateExpression",
)
_RESERVED = frozenset(word.upper() for word in ReservedKeywords.get_reserved_keywords())
#: What an expression consists of besides names and values.
_SYNTAX = frozenset(("ADD", "AND", "BETWEEN", "DELETE", "IN", "NOT", "OR", "REMOVE", "SET"))
_TOKEN = re.compile(r"[#:]?\w+(?=(\s*\()?)")

Call = Mapping[str, Any]


class MemoryTable:
    """One table, and its stream. ``install`` has the table of ``current`` answer a client's calls."""

    def __init__(self) -> None:
        turns = Turns()
        self.stream = Stream()
        self._fake = FakeDynamo(Meter(turns), Capacity(turns, limits=False), Random(0))
        self._fake.rows = StreamedRows(self.stream)

    @property
    def rows(self) -> Rows:
        """The rows, past the API."""
        return self._fake.rows

    @staticmethod
    def install(client: Any, current: Callable[[], MemoryTable]) -> None:
        """Answers all calls of a client."""

        def answer(model: Any, params: Any, **_: Any) -> tuple[AWSResponse, dict[str, Any]]:
            return current().answer(model.name, params)

        client.meta.events.register("before-call.dynamodb.*", answer)

    def answer(self, operation: str, params: Any) -> tuple[AWSResponse, dict[str, Any]]:
        """Returns what botocore has parsed of an answer."""
        status, told = 200, {}
        try:
            call = json.loads(params["body"], object_hook=_binary)
            refuse(operation, call)
            told = getattr(self._fake, xform_name(operation))(**call)
        except ClientError as error:
            status, told = 400, {**error.response}
        response = AWSResponse(params["url"], status, HTTPHeaders(), io.BytesIO(b""))
        metadata = {"HTTPStatusCode": status, "RequestId": "", "HTTPHeaders": {}, "RetryAttempts": 0}
        return response, {**told, "ResponseMetadata": metadata}


def _binary(value: dict[str, Any]) -> dict[str, Any]:
    if isinstance(content := value.get("B"), str):
        return {"B": base64.b64decode(content)}
    return value


def refuse(operation: str, call: Call) -> None:
    """Raises ClientError for what DynamoDB does not accept whatever the table contains."""
    for one in _parts(operation, call):
        wrong = _wrong_in(one)
        if wrong:
            told: Any = {"Error": {"Code": "ValidationException", "Message": wrong}}
            raise ClientError(told, operation)


def _parts(operation: str, call: Call) -> Iterator[Call]:
    """Yields what has expressions or an item: the call itself, or the operations in it."""
    if operation == "TransactWriteItems":
        for one in call["TransactItems"]:
            yield from one.values()
    elif operation == "BatchWriteItem":
        for requests in call["RequestItems"].values():
            for one in requests:
                yield from one.values()
    elif operation == "BatchGetItem":
        yield from call["RequestItems"].values()
    else:
        yield call


def _wrong_in(call: Call) -> str:
    """Returns what is wrong with the names, the values and the item of a call, or ""."""
    used: set[str] = set()
    for kind in _EXPRESSIONS:
        expression = call.get(kind)
        if expression is None:
            continue
        if not expression:
            return f"{kind} is empty"
        for match in _TOKEN.finditer(expression):
            word = match[0]
            if word[0] in "#:":
                used.add(word)
            elif not match[1] and word.upper() in _RESERVED - _SYNTAX:
                return f"{kind} has the reserved word {word}"
    defined = {*call.get("ExpressionAttributeNames", {}), *call.get("ExpressionAttributeValues", {})}
    for name in ("ExpressionAttributeNames", "ExpressionAttributeValues"):
        if name in call and not call[name]:
            return f"{name} is empty"
    if used != defined:
        return f"not defined, or not used: {sorted(used ^ defined)}"
    if len(json.dumps(call.get("Item", {}), default=str)) > MAX_ITEM_BYTES:
        return "the item is too large"
    return ""
