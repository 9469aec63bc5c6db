"""The simulated Bedrock of all accounts and Regions: one clock, one configuration, one set of faults."""

from __future__ import annotations

import datetime as dt
import threading
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import Any

from botocore.exceptions import UnknownRegionError
from botocore.session import get_session

from .agenda import Agenda
from .answering import Answering, Callback
from .aws import Aws, Principal
from .config import Config
from .core import Simulator
from .errors import ConfigError
from .faults import Fault, Faults, Kind
from .jobs import Job

_ACCOUNT_DIGITS = 12
LONGEST = 100 * 366 * 86_400
"""How many seconds the time can be moved ahead at once: what is beyond the year 9999 has no date."""


class Time:
    """The simulated time, which stands still or runs with the clock; what falls due happens in `advance`."""

    def __init__(self, agenda: Agenda, answering: Answering) -> None:
        self._agenda, self._answering = agenda, answering
        self._moving = threading.RLock()
        self._closed = False

    def close(self) -> None:
        """Let no more time pass."""
        self._closed = True

    @property
    def now(self) -> dt.datetime:
        """The simulated time, in UTC."""
        return dt.datetime.fromtimestamp(self._agenda.clock(), dt.UTC)

    def advance(
        self, seconds: float = 0.0, *, minutes: float = 0.0, hours: float = 0.0, days: float = 0.0
    ) -> None:
        """Move the time ahead, and let all happen on the way that falls due, in order.

        What `Simulation.answers` raised on the way is raised then.
        """
        total = seconds + 60 * minutes + 3600 * hours + 86_400 * days
        if total < 0:
            raise ConfigError(f"advance: time cannot go back by {-total} seconds")
        if not total <= LONGEST:  # which NaN is not
            raise ConfigError(f"advance: must be at most {LONGEST} seconds, not {total}")
        self.let_pass(total)
        self._answering.raise_raised()

    def let_pass(self, seconds: float = 0.0) -> None:
        """As `advance`, for a server: what the answers raised is in its log, and fails the job alone."""
        with self._moving:
            if self._closed:
                raise ConfigError("advance: the simulation has ended, and with it its AWS")
            self._agenda.advance(seconds)


class Simulation:
    """Bedrock's batch inference in every account and Region, made at the first call there.

    `aws`: gives the services beside it, for an account and a Region. `clock`: seconds since the epoch, never
    going back. `account` and `region`: where a request is that does not tell. `account_of`: the account of a
    caller, "" where it does not know; without it an access key of twelve digits is one. `emit`: as of
    `Simulator`; without it the events that came are in `events`. `seed` and `config`: as of `Simulator`.
    """

    def __init__(
        self,
        aws: Callable[[str, str], Aws],
        *,
        clock: Callable[[], float],
        account: str = "123456789012",
        region: str = "us-east-1",
        account_of: Callable[[Principal], str] | None = None,
        emit: Callable[[dict[str, Any]], None] | None = None,
        seed: int = 0,
        config: Config | None = None,
    ) -> None:
        if len(account) != _ACCOUNT_DIGITS or not account.isdecimal():
            raise ConfigError(f"account: must have twelve digits, not {account!r}")
        self.lock = threading.RLock()
        self.account, self.region, self.seed = account, region, seed
        self.agenda = Agenda(clock, self.lock)
        self._answering = Answering()
        self.clock = Time(self.agenda, self._answering)
        self.faults = Faults(seed)
        self.initial = self.config = config or Config()
        self.events: list[dict[str, Any]] = []
        self._aws, self._emit = aws, emit or self.events.append
        self._account_of = account_of or account_in_key
        self._places: dict[tuple[str, str], Simulator] = {}

    def place(self, account: str = "", region: str = "") -> Simulator:
        """Bedrock in an account and a Region; those of the simulation where none is named."""
        where = account or self.account, region or self.region
        with self.lock:
            if where not in self._places:
                self._places[where] = Simulator(
                    self._aws(*where),
                    clock=self.agenda.clock,
                    account=where[0],
                    region=where[1],
                    partition=_partition(where[1]),
                    emit=self._emit,
                    seed=self.seed,
                    config=self.config,
                    faults=self.faults,
                    agenda=self.agenda,
                    answering=self._answering,
                    lock=self.lock,
                )
            return self._places[where]

    def place_of(self, who: Principal, region: str) -> Simulator:
        """Bedrock in the account of a caller and the Region that the request was signed for."""
        return self.place(self._account_of(who), region)

    @property
    def places(self) -> Iterable[Simulator]:
        """Bedrock wherever it was called."""
        return tuple(self._places.values())

    @property
    def jobs(self) -> list[Job]:
        """All jobs, in the order of their submission; foreign ones too."""
        with self.lock:
            found = [job for place in self.places for job in place.jobs.values()]
        return sorted(found, key=lambda job: job.submitted)

    def configure(self, **settings: Any) -> None:
        """Change settings of `Config`; objects are merged by key. Raises ConfigError for a wrong one."""
        self.use(self.config.updated(settings))

    def use(self, config: Config) -> None:
        """Go on with another configuration."""
        with self.lock:
            self.config = config
            for place in self.places:
                place.configure(config)

    def fault(
        self,
        kind: Kind,
        operation: str = "*",
        *,
        times: int | None = 1,
        probability: float = 1.0,
        message: str | None = None,
    ) -> None:
        """Let the next calls of an operation fail; see `Fault`. Raises ConfigError for an unknown one."""
        members = {"kind": kind, "operation": operation, "probability": probability, "message": message}
        made = Fault.from_dict(members if times is None else {**members, "times": times})
        with self.lock:
            self.faults.add(made)

    def answers(self, callback: Callback | None) -> None:
        """Let `callback` answer all records and calls from now on; None: the built-in answers.

        It takes a `Record` and returns a text, which is said in the body of the model's family, a dictionary,
        which is the whole `modelOutput`, or None for the built-in answer. Each record is asked for once, as
        its job enters InProgress, in the order in which it is processed. `RecordError` refuses the record.
        Any other exception fails the job, and is raised by the `clock.advance` that came to it, or by the
        call; it is logged too, for a server.
        """
        if callback is not None and not callable(callback):
            raise ConfigError(f"answers: must be a callable that takes a record, or None, not {callback!r}")
        self._answering.callback = callback

    def fail(self, record_id: str, code: int | None = 400, message: str | None = None) -> None:
        """Let the records with an id end with an error in every batch job; a `code` of None: no more.

        Raises ConfigError for what is no error.
        """
        error = {"code": code} if message is None else {"code": code, "message": message}
        self.configure(record_errors={record_id: None if code is None else error})

    def add_foreign_jobs(
        self, model_id: str, count: int = 1, *, hours: float = 1.0, account: str = "", region: str = ""
    ) -> list[str]:
        """Start jobs of somebody else in an account and a Region, which hold slots of the model.

        Returns their ARNs. Raises ConfigError for what names no model.
        """
        with self.lock:
            return self.place(account, region).add_foreign(model_id, count, hours * 3600)

    def close(self) -> None:
        """End: time no longer passes; jobs, counts and events can still be looked at."""
        with self.lock:
            self.agenda.clear()
            self.clock.close()
            for job in self.jobs:
                job.epoch += 1  # so that what is at work on it gives up
                if job.answers is not None:
                    job.answers.close()

    def reset(self) -> None:
        """Forget jobs, counts, faults and what is to come; the configuration and the clock stay."""
        with self.lock:
            self.faults.clear()
            self.agenda.clear()
            self.events.clear()
            for place in self.places:
                place.forget()

    def state(self, account: str = "", region: str = "") -> dict[str, Any]:
        """What is going on in an account and a Region, as JSON; see `Simulator.state`."""
        with self.lock:
            return self.place(account, region).state()


@lru_cache(maxsize=64)
def _partition(region: str) -> str:
    try:
        return str(get_session().get_partition_for_region(region))
    except UnknownRegionError:  # such as "local", which some use with emulators
        return "aws"


def account_in_key(who: Principal) -> str:
    """The account in an access key of twelve digits, as emulators of AWS take it; "" for any other key."""
    key = who.access_key
    return key if len(key) == _ACCOUNT_DIGITS and key.isdecimal() else ""
