"""A random life of the queue, replayed exactly by its seed.

Several invocations run at once, each in a thread of its own, and take turns at their AWS calls: before each
call the seed says whose turn it is, what happens meanwhile, and how the call fares. Only one of them runs.
"""

from __future__ import annotations

import gc
import hashlib
import io
import json
import logging
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass, field, replace
from functools import partial
from random import Random
from typing import Any

from batch_queue.core.names import iso
from batch_queue.core.rows import TERMINAL, Route, Status
from botocore.exceptions import ClientError, ConnectionClosedError, EndpointConnectionError

from tests.support.routes import configured

from .errors import aws_error
from .invariants import Watch, check, check_cancelled
from .world import HAIKU, RETRY_SECONDS, SCHEDULE_SECONDS, Call, Invocation, World, lines, records

ENDPOINT = "https://aws"
# What a function names that could not ride out a throttled table, and the time it may then have left at most.
THROTTLING = ("ProvisionedThroughputExceededException", "TransactionCanceledException")
GIVES_UP = 30.0
SECONDS_OF_A_TURN = 60.0  # real ones; a thread that does not stop at a call within these hangs
MOST_TURNS = 20_000  # jobs that nobody answers for a day, twice in a row, take half of them
# A throttled table refuses most calls for this long. botocore tries each call a few times by itself.
THROTTLED = (60.0, 240.0)
REFUSED = 0.9
LATE = 3600.0  # an event may come this long after its upload
WEEKS = 20 * 86_400.0  # longer than any rule of the bucket waits
BUSY = 2700.0  # uploads and faults come in these first seconds; then the queue may run to rest
#: What 200 seeds meet, whatever the code under test does.
FAULTS = frozenset(
    {
        "answer lost", "cancelled upload", "connection", "deleted upload", "denied upload", "expired row",
        "fault", "hours without a run", "killed", "killed after", "killed with an answer", "late event",
        "lost event", "paused", "repeated event", "retried upload", "slow", "stopped job", "table lost",
        "throttled", "throttled table", "time-out", "unanswered", "weeks without a run",
    }
)  # fmt: skip
#: How often a record may be paid for on demand in one job, wherever its runs die.
MOST_PAID = 3


@dataclass(frozen=True)
class Plan:
    """What a seed mixes; rates are probabilities for each call, event or job."""

    routes: tuple[Route, ...]
    slots: int
    quota: int
    processors: int
    uploads: int
    skews: bool
    row_days: int | None
    call_faults: float
    kills: float
    paid_kills: float
    slow_calls: float
    duplicates: float
    late: float
    lost: float
    throttled: float
    unanswered: float
    config: Mapping[str, Any]


def plan(seed: int) -> Plan:
    """What the seed mixes."""
    chance = Random(seed)
    slots = chance.randint(1, 4)
    # Either the quota bounds the active jobs, or our own limit does while clocks agree.
    skews = chance.random() < 0.5
    quota = slots if skews else slots + chance.randint(0, 3)
    least = chance.choice([1, 6, 12])
    limits: dict[str, Any] = {
        "max_active_jobs": slots,
        "min_records_per_job": least,
        "max_records_per_file": chance.choice([20, 40, 200]),
        "max_records_per_job": chance.choice([40, 200]),
        "pack_wait_minutes": chance.choice([5, 30]),
        "max_record_attempts": chance.choice([1, 2, 3]),
    }
    few = ["reject", "on_demand", "on_demand"]
    routes = (
        configured("default", HAIKU, **limits, undersized=chance.choice(few)),
        configured("urgent", HAIKU, **limits, undersized=chance.choice(few), priority=90),
    )
    outcomes = ["Failed", "Expired", "Stopped", "PartiallyCompleted"]
    faults = [
        {"outcome": outcome, "rate": chance.choice([0.0, 0.1, 0.3]), "fraction": chance.random()}
        for outcome in chance.sample(outcomes, 2)
    ]
    return Plan(
        routes=routes,
        slots=slots,
        quota=quota,
        processors=chance.randint(2, 8),
        uploads=chance.randint(1, 3),
        skews=skews,
        row_days=chance.choice([None, 1]),
        call_faults=chance.choice([0.0, 0.01, 0.04]),
        kills=chance.choice([0.0, 0.005, 0.02]),
        paid_kills=chance.choice([0.0, 0.1, 0.5]),
        slow_calls=chance.choice([0.0, 0.002, 0.01]),
        duplicates=chance.choice([0.0, 0.2, 0.5]),
        late=chance.choice([0.0, 0.3]),
        lost=chance.choice([0.0, 0.0, 0.3]),
        throttled=Random(seed ^ 0x7AB1E).choice([0.0, 0.0, 0.0, 0.3]),
        unanswered=chance.choice([0.0] * 9 + [0.5]),
        config={
            "models": {
                "*": {
                    "min_records": least,
                    "max_active_jobs": quota,
                    "max_in_progress": chance.choice([None, 1, 2]),
                    "records_per_second": chance.choice([0.02, 0.5, 10.0]),
                    "queue_seconds": chance.choice([1.0, 60.0]),
                }
            },
            "record_faults": {
                "passing_rate": chance.choice([0.0, 0.05, 0.3]),
                "permanent_rate": chance.choice([0.0, 0.05]),
            },
            "job_faults": faults,
            "events": {
                "loss_rate": chance.choice([0.0, 0.3, 1.0]),
                "duplicate_rate": chance.choice([0.0, 0.3]),
                "duplicate_delay_seconds": 30.0,
                "reorder_rate": chance.choice([0.0, 0.3]),
                "reorder_seconds": 90.0,
                "jitter_seconds": chance.choice([0.0, 60.0]),
            },
            "quota_error": chance.choice(["ServiceQuotaExceededException", "ValidationException"]),
        },
    )


@dataclass
class Actor:
    """One invocation that is running: its thread waits at a call until it is its turn."""

    invocation: Invocation
    event: Any
    attempt: int
    turn: threading.Event = field(default_factory=threading.Event)
    thread: threading.Thread | None = None
    error: Exception | None = None
    ended: bool = False
    held_until: float = 0.0


@dataclass(frozen=True)
class Survived:
    """What a life met: AWS calls, faults by kind, and a digest of everything that happened, in order.

    ``paid``: how often the model answered on demand.
    """

    seed: int
    calls: int
    faults: Mapping[str, int]
    paid: int
    uploads: Mapping[str, int]
    jobs: int
    digest: str


class Life:
    """One seed's run. ``Life(seed).run()`` raises AssertionError where an invariant breaks."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.plan = plan(seed)
        self._chance = Random(seed ^ 0x5EED)
        self._actors: list[Actor] = []
        self._now: Actor | None = None
        self._back = threading.Event()
        self._faults: Counter[str] = Counter()
        self._digest = hashlib.sha256()
        self._accepted: dict[str, list[dict[str, Any]]] = {}
        self._versions: dict[str, tuple[str, str]] = {}
        self._deleted: set[str] = set()
        self._bad: set[str] = set()
        self._unanswered: dict[str, bool] = {}
        self._table_lost = self._rows_lost = False
        self._too_old: set[str] = set()
        self._events: list[Any] = []
        self._ended_before: set[str] = set()
        self._ran_before: set[str] = set()
        self._lost: set[str] = set()
        self._agenda: list[tuple[float, Callable[[], None]]] = []
        self._throttled_until = 0.0
        self._handing_over = False
        # By job and record: how often the model has answered. And the jobs whose runs met a fault.
        self._paid: Counter[tuple[str, str, int]] = Counter()
        self._tables = 1
        self._troubled: set[str] = set()
        self._denied_until = 0.0

    def run(self) -> Survived:
        """Lives through the seed to its rest and checks every invariant, record by record."""
        with World.open(*self.plan.routes, config=self.plan.config, seed=self.seed) as world:
            self.world = world
            world.before, world.after, world.pause = self._before, self._after, self._pause
            world.schedule = False  # this loop has its own, which goes on while functions run
            self._next_schedule = world.clock() + SCHEDULE_SECONDS
            self._busy_until = world.clock() + BUSY
            world.keep_rows(self.plan.row_days)
            world.table.put_item(Item={"pk": "table", "sk": "swept", "at": iso(world.clock())})
            self._prepare()
            try:
                self._live()
                self._check()
            finally:
                self._abandon()
            return Survived(
                seed=self.seed,
                calls=world.calls,
                faults=dict(+self._faults),
                paid=self._paid.total(),
                uploads=dict(Counter(str(upload.status) for upload in world.uploads())),
                jobs=len(world.bedrock_jobs()),
                digest=self._digest.hexdigest(),
            )

    # ------------------------------------------------------------------------------------------- agenda

    def _prepare(self) -> None:
        """Decides what people will do, and when."""
        chance, world = self._chance, self.world
        keys = [f"{folder}{number}.jsonl" for number in range(3) for folder in ("", "urgent/")]
        for number in range(self.plan.uploads):
            key, at = chance.choice(keys), world.clock() + chance.random() * BUSY * 0.6
            self._at(at, partial(self._upload, number, key))
        for _ in range(chance.choice([0, 0, 1, 3])):
            self._at(world.clock() + chance.random() * BUSY, self._delete)
        for _ in range(chance.choice([0, 0, 2])):
            self._at(world.clock() + chance.random() * BUSY, self._stop)
        for what, often in (
            (self._outage, 0.1),
            (self._sweep, 0.3),
            (self._apply, 0.3),
            (self._neighbours, 0.2),
            (self._only_schedule, 0.05),
            (self._weeks, 0.2),
            (self._lose_table, 0.2),
            (self._deny, 0.1),
        ):
            if chance.random() < often:
                self._at(world.clock() + chance.random() * BUSY, what)
        self._prepare_orders()
        self._at(world.clock() + BUSY + 3600.0, self._sweep)  # the daily one, which finds what is left
        if self.plan.row_days:
            self._at(world.clock() + BUSY + 7200.0, self._expire)
        for _ in range(chance.choice([0, 0, 2])):
            seconds = chance.choice([60.0, 3000.0])
            at = world.clock() + chance.random() * BUSY
            self._at(at, partial(self._hold_a_slot, seconds))

    def _prepare_orders(self) -> None:
        """Decides which orders people will give, and when."""
        chance, world = Random(self.seed ^ 0x0BDE2), self.world
        begin = world.clock()
        for often, what, until in (
            (0.3, self._cancel, BUSY),
            (0.2, self._cancel, BUSY),
            (0.4, self._retry, 2 * BUSY),
            (0.3, self._retry, 4 * BUSY),
            (0.2, self._explain, BUSY),
        ):
            if chance.random() < often:
                self._at(begin + chance.random() * until, what)
        if chance.random() < 0.2:
            at = begin + chance.random() * BUSY
            route = chance.choice(["", "default", "urgent"])
            self._at(at, partial(self._pause_route, route))
            self._at(at + chance.choice([60.0, 3600.0]), partial(self._resume_route, route))

    def _order(self, order: str, members: Mapping[str, str], times: int = 1) -> None:
        """Somebody gives an order, sometimes twice at once."""
        event = {"order": order, **{name: text for name, text in members.items() if text}}
        for _ in range(times):
            self.world.send("operate", event)
        self._note("order", event)

    def _some_upload(self, ended: bool | None = None) -> dict[str, str]:
        """Names one of the uploads that people have made, in one of the ways.

        ``ended``: one that has failures left, or one that has not ended, if there is one.
        """
        if not self._versions:
            return {}
        known = [one for one in self.world.uploads() if (one.status in TERMINAL) is ended]
        wanted = [one.upload_id for one in known if one.success_count < one.records or not ended]
        upload_id = self._chance.choice(sorted(set(wanted) & set(self._versions)) or sorted(self._versions))
        key, version = self._versions[upload_id]
        ways: list[dict[str, str]] = [
            {"upload_id": upload_id},
            {"key": key},
            {"key": key, "version_id": version},
        ]
        return self._chance.choice(ways)

    def _cancel(self) -> None:
        named = self._chance.choice([self._some_upload(ended=False), {"prefix": "to-process/urgent/"}])
        if named:
            self._order("cancel", {**named, "by": "ana"}, times=self._chance.choice([1, 1, 2]))

    def _retry(self) -> None:
        if named := self._some_upload(ended=True):
            self._order("retry", named, times=self._chance.choice([1, 1, 2]))

    def _explain(self) -> None:
        self._order("status", {})
        if named := self._some_upload():
            self._order("explain", named)

    def _pause_route(self, route: str) -> None:
        self._order("pause", {"route": route, "by": "ana", "why": "a test"})

    def _resume_route(self, route: str) -> None:
        """Somebody resumes what is paused, and sees to it that it is."""
        self._order("resume", {"route": route})
        paused = any(row["pk"] == "paused" for row in self.world.rows())
        self._faults["paused"] += paused
        # The order to pause may be carried out after this one.
        given = [entry[3] for entry in self.world.events] + [actor.event for actor in self._actors]
        if paused or any("order" in event and event["order"] == "pause" for event in given if event):
            self._at(self.world.clock() + 600.0, partial(self._resume_route, route))

    def _at(self, when: float, what: Callable[[], None]) -> None:
        self._agenda.append((when, what))
        self._agenda.sort(key=lambda entry: entry[0])

    def _upload(self, number: int, key: str, count: int = 0) -> None:
        chance, world = self._chance, self.world
        rows = records(count or chance.choice([1, 2, 5, 9, 20, 30, 90]), f"u{number}-")
        kind = chance.choice(["tidy", "tidy", "tidy", "crlf", "bad"])
        body = lines(rows)
        if kind == "crlf":
            body = b"\xef\xbb\xbf" + body.replace(b"\n", b"\r\n\r\n")
        if kind == "bad":
            body += b'{"recordId": '
        upload_id, event = world.put(key, body)
        thing = event["Records"][0]["s3"]["object"]
        self._versions[upload_id] = (f"to-process/{key}", thing["versionId"])
        if kind == "bad":
            self._bad.add(upload_id)
        else:
            self._accepted[upload_id] = rows
        self._events.append(event)
        self._note("upload", key, upload_id, len(rows), kind)
        if chance.random() < self.plan.throttled:
            self._throttled_until = world.clock() + chance.uniform(*THROTTLED)
            self._note("throttled", self._throttled_until)
        if chance.random() < self.plan.lost:
            self._faults["lost event"] += 1
            return
        times = 1 + (chance.random() < self.plan.duplicates) + (chance.random() < self.plan.duplicates)
        self._faults["repeated event"] += times - 1
        for _ in range(times):
            is_late = chance.random() < self.plan.late
            self._faults["late event"] += is_late
            world.send("create", event, delay=chance.random() * (LATE if is_late else 1.0))

    def _delete(self) -> None:
        """Deletes the exact version of an input, and sometimes only hides the key."""
        if not self._versions:
            return
        upload_id = self._chance.choice(sorted(self._versions))
        key, version = self._versions[upload_id]
        if self._chance.random() < 0.3:
            self.world.s3.delete_object(Bucket=self.world.bucket, Key=key)
            self._note("hide", key)
            return
        self.world.s3.delete_object(Bucket=self.world.bucket, Key=key, VersionId=version)
        self._deleted.add(upload_id)
        self._faults["deleted upload"] += 1
        self._note("delete", key, version)

    def _stop(self) -> None:
        """Somebody stops a job in Bedrock's console."""
        active = [job for job in self.world.bedrock_jobs() if job["status"] in ("Submitted", "InProgress")]
        if active:
            job = self._chance.choice(active)
            self.world.simulator.call("StopModelInvocationJob", {"jobIdentifier": job["jobArn"]})
            self._faults["stopped job"] += 1
            self._note("stop", job["jobName"])

    def _sweep(self) -> None:
        """Somebody sweeps, or the daily rule does."""
        self.world.send("create", {"sweep": True})
        self._note("sweep")

    def _apply(self) -> None:
        """Terraform applies other limits of a route."""
        route = self._chance.choice(self.plan.routes)
        changed: dict[str, Any] = {
            "max_records_per_file": self._chance.choice([20, 40, 200]),
            "max_records_per_job": self._chance.choice([40, 200]),
            "priority": self._chance.choice([10, 50, 90]),
            "max_record_attempts": self._chance.choice([1, 3]),
        }
        self.world.put_route(replace(route, **changed))
        self._note("apply", route.name, changed)

    def _outage(self) -> None:
        """Nothing runs for hours: whatever was running is past its time-out, and jobs have gone on."""
        self.world.clock.advance(2 * 3600.0)
        self._faults["hours without a run"] += 1
        self._note("outage")

    def _neighbours(self) -> None:
        """Two people upload a few records each, and one of them soon takes them back."""
        for number in (100, 101):
            self._upload(number, f"neighbour{number}.jsonl", count=4)
        self._at(self.world.clock() + self._chance.uniform(0.0, 600.0), self._delete)

    def _only_schedule(self) -> None:
        """For a while, Bedrock does not get round to the jobs that it takes: they expire."""
        self.world.simulator.configure({"models": {"*": {"schedule_seconds": 2 * 86_400.0}}})
        back = {"models": {"*": {"schedule_seconds": 1.0}}}
        self._at(self.world.clock() + 1800.0, partial(self.world.simulator.configure, back))
        self._note("only schedules")

    def _weeks(self) -> None:
        """Nothing runs for weeks, in which the bucket's rules delete what is old enough."""
        self.world.clock.advance(WEEKS)
        self._next_schedule = self.world.clock() + SCHEDULE_SECONDS
        versions = self._uploaded().get("Versions", [])
        self._too_old |= {one["VersionId"] for one in versions if not one["IsLatest"]}
        expired = self.world.expire()
        self._faults["weeks without a run"] += 1
        self._faults["expired object"] += len(expired)
        self._note("weeks", expired)

    def _deny(self) -> None:
        """For half an hour, a policy does not let the intake read uploads. Later, somebody sweeps."""
        self._denied_until = self.world.clock() + 1800.0
        self._at(self._denied_until + BUSY, self._sweep)
        self._note("deny")

    def _lose_table(self) -> None:
        """Terraform replaces the table. What is running fails; events and jobs go on; somebody sweeps."""
        for actor in self._actors:
            actor.invocation.dead = True
        self._ended_before |= self._named_by_reports()
        # A job that runs on demand leaves a trace only with its first answer.
        batch = [job for job in self.world.jobs() if job.arn and not job.instead]
        self._ran_before |= {ref.upload_id for job in batch for ref in self.world.runs(job).chunks}
        self._lost |= {job.job_id for job in self.world.jobs()} | {
            one.upload_id for one in self.world.uploads()
        }
        self.world.new_table()
        self._table_lost = True
        self._tables += 1  # and with it, how often a record was asked about
        self._faults["table lost"] += 1
        self._note("table lost")
        self._sweep()

    def _expire(self) -> None:
        """When all has ended, DynamoDB deletes some rows; somebody sweeps, and old events come again."""
        world, chance = self.world, self._chance
        if self._actors or world.events or world.memory.stream.pending or not world.at_rest():
            self._at(world.clock() + 3600.0, self._expire)
            return
        self._check()
        world.clock.advance(2 * 86_400.0)
        self._next_schedule = world.clock()
        self._faults["expired row"] += world.expire_rows(lambda: chance.random() < 0.5)
        left = {upload.upload_id for upload in world.uploads()}
        self._ended_before |= self._named_by_reports() - left
        self._rows_lost = True
        self._note("expire", len(left))
        self._sweep()
        for event in self._events:
            world.send("create", event)

    def _hold_a_slot(self, seconds: float) -> None:
        """Somebody else's job takes a slot."""
        if self.world.simulator.active(HAIKU) < self.plan.quota:
            self.world.simulator.add_foreign(HAIKU, count=1, seconds=seconds)
            self._note("foreign", seconds)

    # -------------------------------------------------------------------------------------------- turns

    def _live(self) -> None:
        world, chance = self.world, self._chance
        watch = Watch(world)
        for turn in range(MOST_TURNS):
            self._hand_over()
            ready = [actor for actor in self._actors if actor.held_until <= world.clock()]
            due = [entry for entry in world.events if entry[0] <= world.clock() and self._may_start(entry[2])]
            if ready and (not due or chance.random() < 0.8):
                self._go(chance.choice(ready))
            elif due:
                self._start(chance.choice(sorted(due, key=lambda entry: entry[:2])))
            elif not self._move_on():
                break
            if turn % 20 == 0:
                watch.look()
            stream = world.memory.stream.pending
            if not (self._actors or world.events or stream or self._agenda) and world.at_rest():
                break
        else:
            raise AssertionError(f"no rest after {MOST_TURNS} turns: {self._state()}")
        watch.look()

    def _state(self) -> str:
        uploads = Counter(str(upload.status) for upload in self.world.uploads())
        return f"{dict(uploads)}, {len(self._actors)} running, {len(self.world.events)} events"

    def _may_start(self, function: str) -> bool:
        running = sum(actor.invocation.function == function for actor in self._actors)
        return running < {"process": self.plan.processors, "publish": 1}.get(function, running + 1)

    def _hand_over(self) -> None:
        """Has the event source mapping invoke its function, one batch after the other."""
        if self.world.memory.stream.pending and not self._handing_over:
            self._handing_over = True
            self.world.send("publish", None, delay=self._chance.uniform(0.0, 5.0))

    def _move_on(self) -> bool:
        """Lets time pass until the next thing happens; False: nothing will."""
        world = self.world
        due = world.simulator.next_due()
        times = [self._next_schedule]
        times += [entry[0] for entry in world.events if self._may_start(entry[2])]
        times += [actor.held_until for actor in self._actors]
        times += [self._agenda[0][0]] if self._agenda else []
        times += [due] if due is not None else []
        self._pass(max(0.0, min(times) - world.clock()))
        return True

    def _pass(self, seconds: float) -> None:
        world = self.world
        world.clock.advance(seconds)
        world.simulator.tick()
        while self._agenda and self._agenda[0][0] <= world.clock():
            self._agenda.pop(0)[1]()
        while self._next_schedule <= world.clock():
            self._next_schedule += SCHEDULE_SECONDS
            world.send("process", {"source": "aws.events", "detail-type": "Scheduled Event"})

    def _start(self, entry: tuple[float, int, str, Any, int, str]) -> None:
        world, chance = self.world, self._chance
        world.events.remove(entry)
        world.events.sort()
        _, _, function, event, attempt, request_id = entry
        if function == "publish":
            event = {"Records": world.memory.stream.batch()}
        skew = chance.choice([0.0, 0.0, chance.uniform(-5, 5), chance.uniform(-200, 200)])
        invocation = world.invocation(function, skew if self.plan.skews else 0.0, request_id)
        actor = Actor(invocation, event, attempt)
        self._note("start", function, actor.invocation.request_id, attempt)

        def body() -> None:
            actor.turn.wait()
            actor.error = world.invoke(function, event, actor.invocation)
            actor.ended = True
            self._back.set()

        actor.thread = threading.Thread(target=body, daemon=True)
        self._actors.append(actor)
        actor.thread.start()
        self._go(actor)

    def _go(self, actor: Actor) -> None:
        """Lets one invocation run until its next call, or its end."""
        self._now = actor
        self._back.clear()
        actor.turn.set()
        assert self._back.wait(SECONDS_OF_A_TURN), f"{actor.invocation} hangs"
        if not actor.ended:
            return
        assert actor.thread is not None
        actor.thread.join()
        self._actors.remove(actor)
        self._note("end", actor.invocation.request_id, type(actor.error).__name__)
        if actor.invocation.function == "publish":
            self._handing_over = False
            self.world.memory.stream.settle(actor.event["Records"], actor.invocation.answer, actor.error)
            return
        if actor.error is None:
            return
        if any(code in str(actor.error) for code in THROTTLING):
            left = actor.invocation.deadline - self.world.clock()
            assert left < GIVES_UP, f"{actor.invocation} gave up with {left:.0f} s left: {actor.error}"
        function = actor.invocation.function
        self._troubled.add(actor.event.get("job_id", ""))
        if "order" in actor.event and "after" not in actor.event:
            return  # its sender gets the error, and does not repeat it
        if actor.attempt < len(RETRY_SECONDS):
            delay = RETRY_SECONDS[actor.attempt]
            self.world.send(function, actor.event, delay, actor.attempt + 1, actor.invocation.request_id)
            return
        self.world.dead_letters.append((function, actor.event))

    def _abandon(self) -> None:
        """Ends the threads that are left after a failure."""
        for actor in list(self._actors):
            actor.invocation.dead = True
            while not actor.ended:
                self._go(actor)

    # ------------------------------------------------------------------------------------------- calls

    def _before(self, call: Call) -> None:
        """An invocation's call: it waits here for its turn, and then the call may fail."""
        world, chance, invocation = self.world, self._chance, call.invocation
        actor = self._now
        assert actor is not None
        assert actor.invocation is invocation
        if chance.random() < self.plan.slow_calls:
            actor.held_until = world.clock() + chance.uniform(1, 400)
            self._faults["slow"] += 1
        self._let_others_go(actor)
        self._pass_in_call(chance)
        if invocation.dead:
            world.kill()
        self._note("call", invocation.request_id, call.operation)
        reads = call.function == "create" and call.operation in ("GetObject", "HeadObject")
        if reads and world.clock() < self._denied_until and "/to-process/" in call.params["url_path"]:
            self._faults["denied upload"] += 1
            raise aws_error("AccessDenied", 403, operation=call.operation)
        if call.operation == "CreateModelInvocationJob" and self._is_unanswered(call):
            self._faults["unanswered"] += 1
            raise aws_error("InternalServerException", 500, operation=call.operation)
        if world.clock() > invocation.deadline:
            self._faults["time-out"] += 1
            self._kill(invocation)
        if world.clock() > self._busy_until:
            return
        if chance.random() < self.plan.kills:
            self._faults["killed"] += 1
            self._kill(invocation)
        if call.to_the_table and world.clock() < self._throttled_until and chance.random() < REFUSED:
            self._faults["throttled table"] += 1
            raise throttled(call.operation)
        if chance.random() < self.plan.call_faults:
            raise self._error(call)

    def _let_others_go(self, actor: Actor) -> None:
        """Waits for the next turn of an invocation."""
        actor.turn.clear()
        self._back.set()
        actor.turn.wait()
        if actor.invocation.dead:
            self.world.kill()

    def _pause(self, longest: float) -> None:
        """An invocation waits before it tries a call again, and the others go on."""
        actor = self._now
        assert actor is not None
        actor.held_until = self.world.clock() + self._chance.uniform(0, longest)
        self._let_others_go(actor)

    def _pass_in_call(self, chance: Random) -> None:
        self.world.clock.advance(chance.choice([0.01, 0.05, 0.3]))

    def _kill(self, invocation: Invocation) -> None:
        invocation.dead = True
        self.world.kill()

    def _error(self, call: Call) -> Exception:
        kind = self._chance.choice(["connection", "throttled", "fault"])
        self._faults[kind] += 1
        if kind == "connection":
            return EndpointConnectionError(endpoint_url=ENDPOINT)
        if kind == "throttled":
            return aws_error("ThrottlingException", 400, operation=call.operation)
        return aws_error("InternalServerError", 500, operation=call.operation)

    def _is_unanswered(self, call: Call) -> bool:
        """Whether Bedrock answers no call for this job: once for two jobs or so, so that a life ends."""
        name = json.loads(call.params["body"])["jobName"]
        if name not in self._unanswered:
            few = sum(self._unanswered.values()) < 2
            self._unanswered[name] = few and self._chance.random() < self.plan.unanswered
        return self._unanswered[name]

    def _after(self, call: Call) -> None:
        if call.operation == "InvokeModel":
            self._pay(call)
        if self.world.clock() > self._busy_until:
            return
        if self._chance.random() < self.plan.call_faults / 2:
            self._faults["answer lost"] += 1
            raise ConnectionClosedError(endpoint_url=ENDPOINT)
        if self._chance.random() < self.plan.kills / 2:
            self._faults["killed after"] += 1
            self._kill(call.invocation)

    def _pay(self, call: Call) -> None:
        """Counts an answer of the model, and sometimes ends the run before it stores it.

        Not only while the queue is busy: few records wait for more, and run on demand after that.
        """
        actor, body = self._now, json.loads(call.params["body"])
        assert actor is not None
        record = body["messages"][0]["content"]
        answers = self.world.simulator.on_demand.answered("InvokeModel", HAIKU, body)
        if answers == sum(count for key, count in self._paid.items() if key[1] == record):
            return  # an error, which costs nothing
        self._paid[actor.event["job_id"], record, self._tables] += 1
        if self._chance.random() < self.plan.paid_kills:
            self._faults["killed with an answer"] += 1
            self._kill(call.invocation)

    def _note(self, *what: object) -> None:
        self._digest.update(json.dumps(what, default=str).encode())

    # ------------------------------------------------------------------------------------------- check

    def _check(self) -> None:
        """What must hold whatever happened."""
        world = self.world
        uploads = {upload.upload_id: upload for upload in world.uploads()}
        # What nobody told of, and no sweep could find: it is gone, or there is a newer version. Or it ended
        # before the table, or its row, was lost.
        unknown = {one for one in (*self._accepted, *self._bad) if one not in uploads}
        ended = self._named_by_reports() if self._table_lost or self._rows_lost else set()
        assert not self._ended_before & set(uploads), "an upload that had ended has begun again"
        assert not (unknown - ended) & self._listed(), "a sweep has not found them"
        for upload_id in self._bad - self._deleted - unknown:
            cancelled = uploads[upload_id].cancelled_at  # before S3 let the queue read it
            assert uploads[upload_id].status == (Status.CANCELLED if cancelled else Status.REJECTED)
        ran = sent(world)
        complete: dict[str, Sequence[Mapping[str, Any]]] = {}
        for upload_id, rows in self._accepted.items():
            times = {str(row["recordId"]): ran[upload_id, str(row["recordId"])] for row in rows}
            assert max(times.values()) <= 1, f"{upload_id}: paid twice for {times}"
            if upload_id in unknown:
                continue
            upload = uploads[upload_id]
            assert upload.status in TERMINAL
            self._faults["retried upload"] += upload.run > 1
            assert ("Not run again" in upload.message) >= (upload_id in self._ran_before), "it ran again"
            if "Not run again" in upload.message:
                assert self._table_lost
                assert upload.status == Status.FAILED
                self._faults["in flight when the table was lost"] += 1
            elif upload.status == Status.REJECTED:  # too few, and none came
                assert not any(times.values())
                assert upload.result_key
            elif upload.cancelled_at and upload.status in (Status.STOPPED, Status.CANCELLED):
                self._faults["cancelled upload"] += 1
                if upload_id not in self._deleted:
                    check_cancelled(world, upload, rows)
            elif upload.status == Status.CANCELLED:
                assert upload_id in self._deleted
            elif upload_id in self._deleted:
                found = Counter(row["recordId"] for row in world.result(upload)) if upload.result_key else {}
                assert all(count == 1 for count in found.values())
            else:
                complete[upload_id] = rows
        assert max(self._paid.values(), default=0) <= MOST_PAID, f"paid for ever: {self._paid}"
        twice = {key for key, count in self._paid.items() if count > 1 and key[0] not in self._troubled}
        # Where clocks differ, the lock of a run may seem to have expired.
        assert self.plan.skews or not twice, f"paid twice without a fault: {twice}"
        again = {upload_id for upload_id in uploads if "Not run again" not in uploads[upload_id].message}
        lost = self._lost - again - {job.job_id for job in world.jobs()}
        assert not world.memory.stream.pending, "something is not published"
        check(world, complete, self.plan.quota, lost)
        assert ours_at_once(world) <= self.plan.slots or self.plan.skews

    def _named_by_reports(self) -> set[str]:
        """The uploads that a summary or a rejection report names, in whatever version of it."""
        found = self.world.s3.list_object_versions(Bucket=self.world.bucket, Prefix="processed/")
        named = set()
        for one in found.get("Versions", []):
            if one["Key"].endswith((".summary.json", ".rejected.json")):
                body = self.world.s3.get_object(
                    Bucket=self.world.bucket, Key=one["Key"], VersionId=one["VersionId"]
                )
                named.add(json.loads(body["Body"].read())["upload_id"])
        return named

    def _uploaded(self) -> Any:
        """The versions and delete markers below the input prefix, as S3 lists them."""
        return self.world.s3.list_object_versions(Bucket=self.world.bucket, Prefix="to-process/")

    def _listed(self) -> set[str]:
        """The uploads whose version a sweep finds: the current one of its key, and those it has overwritten.

        A new table does not know since when, and nobody looks for what was overwritten weeks ago.
        """
        found = self._uploaded()
        deleted = {one["Key"] for one in found.get("DeleteMarkers", [])}
        listed = {
            (one["Key"], one["VersionId"])
            for one in found.get("Versions", [])
            if one["IsLatest"]
            or not (self._table_lost or one["Key"] in deleted or one["VersionId"] in self._too_old)
        }
        return {upload_id for upload_id, version in self._versions.items() if version in listed}


def throttled(operation: str) -> ClientError:
    """The error of a throttled table, as it comes out of botocore."""
    code, reasons = "ProvisionedThroughputExceededException", []
    if operation == "TransactWriteItems":
        code, reasons = "TransactionCanceledException", [{"Code": "None"}, {"Code": "ThrottlingError"}]
    answer: Any = {"Error": {"Code": code, "Message": code}, "CancellationReasons": reasons}
    return ClientError(answer, operation)


def sent(world: World) -> Counter[tuple[str, str]]:
    """How often each record was answered, and so paid for, by (upload id, recordId)."""
    found: Counter[tuple[str, str]] = Counter()
    for key, body in world.ever("jobs/").items():
        if "/out/" not in key or not key.endswith(".jsonl.out"):
            continue
        upload_id = key.rsplit("/", 1)[1].split("-")[0]
        for line in body.splitlines():
            row = json.loads(line)
            found[upload_id, row["recordId"]] += "modelOutput" in row
    return found


def ours_at_once(world: World) -> int:
    """The most of our jobs that were active at one time, from their timelines."""
    changes: list[tuple[float, int]] = []
    for job in world.bedrock_jobs():
        timeline = job["timeline"]
        changes.append((timeline[0]["at"], 1))
        if timeline[-1]["status"] in {str(status) for status in TERMINAL}:
            changes.append((timeline[-1]["at"], -1))
    active = most = 0
    for _, change in sorted(changes):
        active += change
        most = max(most, active)
    return most


def live(seed: int) -> Survived:
    """Lives through one seed and says nothing on the way."""
    logging.disable(logging.CRITICAL)
    gc.freeze()  # what was there before is not looked through again
    gc.disable()  # once for each life is enough
    try:
        with redirect_stdout(io.StringIO()):
            return Life(seed).run()
    finally:
        gc.enable()
        gc.collect()
        logging.disable(logging.NOTSET)
