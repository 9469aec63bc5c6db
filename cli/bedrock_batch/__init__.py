"""The command line and the Python client of the Amazon Bedrock batch queue (docs/client.md).

>>> from bedrock_batch import Queue
>>> for record in Queue("br-batch-inference").submit("reviews.jsonl").wait().results():
...     print(record["recordId"], record.get("modelOutput"))
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import BatchError, InputError, PassingError, RefusedError, TimedOutError
from .version import VERSION

if TYPE_CHECKING:
    from .client import Queue, RejectedError, Submission, Upload

__all__ = [
    "VERSION",
    "BatchError",
    "InputError",
    "PassingError",
    "Queue",
    "RefusedError",
    "RejectedError",
    "Submission",
    "TimedOutError",
    "Upload",
]


def __getattr__(name: str) -> Any:
    # botocore is slow to import, and the help of the command line does not need it.
    if name in __all__:
        from . import client  # noqa: PLC0415

        return getattr(client, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
