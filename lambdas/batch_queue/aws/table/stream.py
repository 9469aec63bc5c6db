"""The table's stream: the changes of uploads and jobs, as Lambda hands them over.

DynamoDB writes a change to the stream together with the row, and keeps it for 24 hours. (DynamoDB Developer
Guide, change data capture for DynamoDB Streams; Lambda Developer Guide, using Lambda with DynamoDB.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from batch_queue.aws.telemetry import EventError
from batch_queue.core.records import dataclass
from batch_queue.core.rows import Job, Upload

from .items import job_of, upload_of
from .values import values_of


@dataclass(frozen=True, slots=True)
class Change:
    """One change of a row.

    ``sequence``: its number in the stream. ``partition``: that of the table, such as ``aws``. ``record``: the
    change as Lambda hands it over.
    """

    sequence: str
    partition: str
    record: Mapping[str, Any]

    def rows(self) -> tuple[Upload | Job | None, Upload | Job | None]:
        """Returns the row before and after the change; None for one that there is not.

        Both are None if the row is neither an upload nor a job.
        """
        kind = self.record["Keys"]["sk"]["S"]
        if kind not in _ROW_OF:
            return None, None
        read = _ROW_OF[kind]
        old, new = (self.record.get(image) for image in ("OldImage", "NewImage"))
        return (read(values_of(old)) if old else None), (read(values_of(new)) if new else None)


_ROW_OF: Mapping[str, Any] = {"upload": upload_of, "job": job_of}


def changes(event: Mapping[str, Any]) -> Sequence[Change]:
    """Returns the changes in an event of the table's stream, in order.

    Raises EventError for any other event.
    """
    try:
        return [
            Change(one["dynamodb"]["SequenceNumber"], one["eventSourceARN"].split(":")[1], one["dynamodb"])
            for one in event["Records"]
        ]
    except (AttributeError, IndexError, KeyError, TypeError):
        raise EventError(
            "this function takes the changes of the queue's table, from the event source mapping of its "
            "stream: nothing else need invoke it"
        ) from None
