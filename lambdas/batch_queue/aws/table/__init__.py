"""Adapter for DynamoDB: the queue's table. Writes are conditional, so repeating one changes nothing.

| item | pk / sk | status_key, or lifetime |
|---|---|---|
| upload | upload id / ``upload`` | ``upload#<status>`` |
| chunk | upload id / ``chunk#000001`` | |
| cut | upload id / ``cut``, ``cut#000001`` … | for an upload with many chunks |
| entering | ``entering`` / upload id | for the same, until all its places are stored |
| denied | ``denied`` / upload id | until the object can be read |
| place | ``queue#<route>`` (shard 0), ``queue#<route>#<shard>`` / order key | while its chunk is pending |
| job | job id / ``job`` | ``job#<status>`` |
| active job | ``active`` / job id | until its results are collected |
| model | ``model`` / base model | |
| route | ``route`` / route name | (written by Terraform) |
| order | ``orders`` / upload id | until it is carried out |
| pause | ``paused`` / route name, or ``*`` | until it is resumed |
| lease | ``control`` / ``lease`` | |
| began, swept | ``table`` / ``began``, ``table`` / ``swept`` | |
| queue | ``queues`` / route name | until the route is removed and its queue is empty |

A run reads what it must not miss (places, active jobs) from the table, with strong consistency. The index is
eventually consistent and serves queries by status.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from batch_queue.aws.patience import Patience

from .chunks import Chunks
from .dynamo import Dynamo
from .jobs import Jobs
from .lease import Lease
from .marks import Marks
from .models import Models
from .orders import Orders
from .queues import Queues
from .uploads import Uploads

if TYPE_CHECKING:
    from mypy_boto3_dynamodb import DynamoDBClient


class Table:
    """The rows of one queue: uploads, chunks, jobs, models, orders, the lease and the marks.

    ``name``: its table.
    """

    def __init__(self, client: DynamoDBClient, name: str, patience: Patience) -> None:
        self._dynamodb = client
        self._name = name
        dynamo = Dynamo(client, name, patience)
        self.chunks = Chunks(dynamo)
        self.uploads = Uploads(dynamo, self.chunks)
        self.jobs = Jobs(dynamo)
        self.models = Models(dynamo)
        self.lease = Lease(dynamo)
        self.marks = Marks(dynamo)
        self.queues = Queues(dynamo)
        self.orders = Orders(dynamo, self.chunks)

    def within(self, patience: Patience) -> Table:
        """Returns the same table for an invocation that has this much patience."""
        return Table(self._dynamodb, self._name, patience)
