"""Has moto's DynamoDB copy what a transaction changes, in place of all tables, and keep streams right."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any
from unittest.mock import patch


def copy_less() -> None:
    """Change moto, once for the process.

    Before each transaction, moto copies every item of every table, to have them back if the transaction is
    canceled. With a thousand items, that takes longer than all else that it does. One call at a time may use
    the tables meanwhile. What a canceled transaction has written to streams is taken back too, which moto
    does not do with copies of its own either.
    """
    from moto.dynamodb import models

    backend_class: Any = models.DynamoDBBackend
    moto_transact = backend_class.transact_write_items

    def transact_write_items(backend: Any, transact_items: Sequence[Mapping[str, Any]]) -> None:
        shards = [table.stream_shard for table in backend.tables.values() if table.stream_shard]
        lengths = [len(shard.items) for shard in shards]
        with patch.object(models, "copy", _Copies(backend.tables, transact_items)):
            try:
                moto_transact(backend, transact_items)
            except BaseException:  # the copies of the tables, which are now the tables, have the same streams
                for shard, length in zip(shards, lengths, strict=True):
                    del shard.items[length:]
                raise

    backend_class.transact_write_items = transact_write_items


class _Copies:
    """Stands for the module ``copy`` during one transaction."""

    def __init__(self, tables: Any, operations: Sequence[Mapping[str, Any]]) -> None:
        self._tables = tables
        self._operations = [next(iter(one.values())) for one in operations]

    def deepcopy(self, thing: Any) -> Any:
        """Return a deep copy; one of tables shares all items but those of the transaction."""
        if thing is self._tables:
            return type(thing)((name, self._of_table(table)) for name, table in thing.items())
        # Newer versions copy the table of each operation.
        if any(thing is table for table in self._tables.values()):
            return self._of_table(thing)
        return copy.deepcopy(thing)

    def _of_table(self, table: Any) -> Any:
        from moto.dynamodb.models.dynamo_type import DynamoType

        copied = copy.copy(table)
        copied.items = copy.copy(table.items)
        for one in self._operations:
            if one["TableName"] != table.name:
                continue
            key = one.get("Key") or one["Item"]
            first = DynamoType(key[table.hash_key_attr])
            if first not in table.items:
                continue
            if table.range_key_attr is None:
                copied.items[first] = copy.deepcopy(table.items[first])
                continue
            if copied.items[first] is table.items[first]:
                copied.items[first] = dict(table.items[first])
            last = DynamoType(key[table.range_key_attr])
            if last in table.items[first]:
                copied.items[first][last] = copy.deepcopy(table.items[first][last])
        return copied
