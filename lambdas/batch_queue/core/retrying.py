"""Decides which jobs that could not be submitted yet are tried now, and in which order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from .names import base_model, epoch
from .records import dataclass
from .rows import Job

# From this many tries on, a job is tried after everything else, with a wait before each further try.
LAST_TRIES = 3
FIRST_WAIT_SECONDS = 60
MAX_WAIT_SECONDS = 3600
# The waits before these tries add up to a day.
MAX_TRIES = 32
# How many waiting jobs of a model leave their slots to others. Each can cost one more intent, so that an
# outage of Bedrock does not turn the whole queue into intents.
MAX_ASIDE = 20
# This many jobs of a model without an answer in one round are taken for an outage.
OUTAGE = 2


@dataclass(frozen=True, slots=True)
class Retries:
    """The jobs to try: ``first`` before new work, ``last`` after it. ``aside``: ids that hold no slot."""

    first: tuple[Job, ...]
    last: tuple[Job, ...]
    aside: frozenset[str]


def wait_seconds(tries: int) -> int:
    """Returns how long a job waits after that many tries: a minute after the third, at most an hour."""
    if tries < LAST_TRIES:
        return 0
    return min(MAX_WAIT_SECONDS, FIRST_WAIT_SECONDS << tries - LAST_TRIES)


def sort_out(jobs: Iterable[Job], now: float) -> Retries:
    """Sorts jobs that are not submitted yet; ``now`` is in epoch seconds.

    A job that was tried often may be one that ends each run that tries it, so only one job of those that are
    not staged yet is tried in a round. One that waits holds no slot meanwhile.
    """
    found = list(jobs)
    often = sorted((job for job in found if job.tries >= LAST_TRIES), key=lambda job: job.tried_at)
    due = [job for job in often if epoch(job.tried_at) + wait_seconds(job.tries) <= now]
    unstaged = [job for job in due if not job.sealed][:1]
    last = (*(job for job in due if job.sealed), *unstaged)
    tried = {job.job_id for job in last}
    aside: set[str] = set()
    count: Counter[str] = Counter()
    for job in often:
        if job.job_id not in tried and count[base_model(job.model_id)] < MAX_ASIDE:
            aside.add(job.job_id)
            count[base_model(job.model_id)] += 1
    return Retries(tuple(job for job in found if job.tries < LAST_TRIES), last, frozenset(aside))
