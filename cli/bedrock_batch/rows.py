"""Queries of the queue's table that the functions do not need: uploads and jobs by status, newest first."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Any, TypeVar

from batch_queue.aws.table.dynamo import INDEX
from batch_queue.aws.table.items import job_of, upload_of
from batch_queue.aws.table.values import item_of, values_of
from batch_queue.core.rows import Job, Status, Upload

from .connection import Connection, table_name, told

T = TypeVar("T", Upload, Job)


def uploads(
    connection: Connection, statuses: Iterable[Status], *, since: str = "", most: int | None = None
) -> list[Upload]:
    """Returns uploads with one of these statuses, newest first.

    ``since``: only those that were created then or later (ISO 8601). ``most``: the newest so many.
    """
    return _newest(connection, "upload", statuses, upload_of, since, most)


def jobs(
    connection: Connection, statuses: Iterable[Status], *, since: str = "", most: int | None = None
) -> list[Job]:
    """Returns jobs with one of these statuses, newest first; see ``uploads``."""
    return _newest(connection, "job", statuses, job_of, since, most)


def count(connection: Connection, kind: str, status: Status, *, since: str = "") -> int:
    """Returns how many uploads or jobs (``kind``) have a status, and were created since then."""
    return sum(page["Count"] for page in _pages(connection, f"{kind}#{status}", since, Select="COUNT"))


def _newest(
    connection: Connection,
    kind: str,
    statuses: Iterable[Status],
    read: Callable[[Any], T],
    since: str,
    most: int | None,
) -> list[T]:
    lists = (_items(connection, f"{kind}#{status}", since, most) for status in statuses)
    merged = heapq.merge(*lists, key=lambda item: str(item["order_key"]), reverse=True)
    return [read(item) for item in islice(merged, most)]


def _items(connection: Connection, status_key: str, since: str, most: int | None) -> Iterator[Any]:
    limit = {"Limit": most} if most else {}
    for page in _pages(connection, status_key, since, **limit):
        yield from (values_of(item) for item in page["Items"])


def _pages(connection: Connection, status_key: str, since: str, **options: Any) -> Iterator[Any]:
    arguments: dict[str, Any] = {
        "TableName": table_name(connection.name),
        "IndexName": INDEX,
        "KeyConditionExpression": "status_key = :s" + (" AND order_key >= :since" if since else ""),
        "ExpressionAttributeValues": item_of({":s": status_key, **({":since": since} if since else {})}),
        "ScanIndexForward": False,
        **options,
    }
    with told(connection.name):
        while True:
            page = connection.dynamodb.query(**arguments)
            yield page
            if "LastEvaluatedKey" not in page:
                return
            arguments["ExclusiveStartKey"] = page["LastEvaluatedKey"]
