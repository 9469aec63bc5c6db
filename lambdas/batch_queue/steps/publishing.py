"""Tells others what has happened: events on the bus, and messages for people.

The stream of the table is the outbox: DynamoDB writes each change to it together with the row, so a function
that dies right after it has stored a row has told of it too. What cannot be sent now stays in the stream.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from batch_queue.aws.events import Events
from batch_queue.aws.notifications import Notifications
from batch_queue.aws.table.stream import Change, changes
from batch_queue.aws.telemetry import SafeError, log
from batch_queue.core import events
from batch_queue.core.events import Event, Kind, Place
from batch_queue.core.notices import Notice, notice
from batch_queue.core.records import dataclass
from batch_queue.core.rows import Job, Route, Upload

from .queue import Queue


class UnsentError(SafeError):
    """An event or a message that was not accepted; the text names the reason."""


@dataclass(frozen=True, slots=True)
class _News:
    """What a change of a row is to others. ``message``: for people, if they are to be told."""

    sequence: str
    event: Event
    message: Notice | None = None


@dataclass(frozen=True, slots=True)
class _Failure:
    """The first change of a batch that was not published, and why."""

    sequence: str
    error: Exception


class Publishing:
    """Publishes the changes of the table's rows, each at least once.

    ``queue`` and ``bus`` have the time of one invocation. ``topic``: who gets the messages for people; None
    if nobody does.
    """

    def __init__(self, queue: Queue, bus: Events, topic: Notifications | None) -> None:
        self._queue = queue
        self._bus = bus
        self._topic = topic
        self._routes: dict[str, Route | None] = {}

    def run(self, event: Mapping[str, Any]) -> dict[str, Any]:
        """Publishes what a batch of changes tells, in order.

        Returns from which change on Lambda has to hand the batch over again, in the form of
        ``ReportBatchItemFailures``. Raises UnsentError, or the error of AWS, if that is the first one: then
        Lambda counts an error of the function.
        """
        batch = changes(event)
        news, failed = self._read(batch)
        failed = self._send(news) or failed
        if failed is None:
            return {"batchItemFailures": []}
        if batch[0].sequence == failed.sequence:
            raise failed.error
        return {"batchItemFailures": [{"itemIdentifier": failed.sequence}]}

    def _read(self, batch: Sequence[Change]) -> tuple[list[_News], _Failure | None]:
        """Returns what the changes tell, up to the first one that cannot be read, and why it cannot."""
        news: list[_News] = []
        for change in batch:
            try:
                found = self._news(change)
            except Exception as error:
                log.exception("a change of the table cannot be read", extra={"sequence": change.sequence})
                return news, _Failure(change.sequence, error)
            if found is not None:
                news.append(found)
        return news, None

    def _news(self, change: Change) -> _News | None:
        """Returns what a change tells, or None if it tells nothing."""
        old, new = change.rows()
        place = Place(self._queue.settings, change.partition)
        if isinstance(new, Job):
            kind = events.job_kind(old if isinstance(old, Job) else None, new)
            return None if kind is None else _News(change.sequence, events.job_event(kind, new, place))
        if new is None:
            return None
        kind = events.upload_kind(old if isinstance(old, Upload) else None, new)
        if kind is None:
            return None
        ends = kind == Kind.UPLOAD_ENDED
        # Without tokens, the prices do not matter.
        route = self._route(new.route) if ends and (new.input_tokens or new.output_tokens) else None
        told = events.upload_event(kind, new, place, route)
        settings = self._queue.settings
        is_for_people = ends and new.status in settings.notify_on
        return _News(change.sequence, told, notice(new, settings) if is_for_people else None)

    def _route(self, name: str) -> Route | None:
        """Returns a route, for its prices; each is read once in a run."""
        if name not in self._routes:
            self._routes[name] = self._queue.table.models.route(name)
        return self._routes[name]

    def _send(self, news: Sequence[_News]) -> _Failure | None:
        """Sends the events, then the messages. Returns the first change that was not sent, and why."""
        if not news:
            return None
        codes = self._bus.send([one.event for one in news])
        sent: Counter[str] = Counter()
        for one, code in zip(news, codes, strict=True):
            if code:
                log.error("the event bus refused an event: %s", code, extra={"id": one.event.detail["id"]})
                return _Failure(one.sequence, UnsentError(f"the event bus refused an event: {code}"))
            if one.message and self._topic:
                try:
                    self._topic.publish(one.message)
                except Exception as error:
                    log.exception("a message was not accepted", extra={"id": one.event.detail["id"]})
                    return _Failure(one.sequence, error)
            sent[str(one.event.kind)] += 1
        log.info("events sent", extra={"events": dict(sent)})
        return None
