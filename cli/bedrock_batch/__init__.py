"""The command line and the Python client of the Amazon Bedrock batch queue (docs/client.md).

>>> from bedrock_batch import Queue
>>> for record in Queue("br-batch-inference").submit("reviews.jsonl").wait().results():
...     print(record["recordId"], record.get("modelOutput"))
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .errors import BatchError, InputError, PassingError, RefusedError, TimedOutError
from .version import VERSION

if TYPE_CHECKING:
    from .client import Queue, RejectedError, Submission, Upload
    from .session import session_of

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
    "session_of",
]
# botocore is slow to import, and the help of the command line does not need it.
_LATER = {
    "Queue": "client",
    "RejectedError": "client",
    "Submission": "client",
    "Upload": "client",
    "session_of": "session",
}


def __getattr__(name: str) -> Any:
    if name in _LATER:
        return getattr(import_module(f".{_LATER[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
