"""What users see of an upload: its status, message, summary and rejection report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from decimal import Decimal
from typing import Any

from .outputs import TIER_REFUSED
from .rows import Chunk, Job, Route, Status, Upload

MAX_DENIED = 500  # characters of what S3 says
MAX_MESSAGE = 2_000  # characters; a row is at most 400 KB
# What to do about records that failed with these codes.
_ADVICE = {
    TIER_REFUSED: (
        'The model does not have the service tier flex: set undersized of the route to "on_demand" or '
        '"reject", and upload the records again.'
    )
}


def upload_status(records: int, success: int, last: Iterable[Status], *, cancelled: bool = False) -> Status:
    """Returns the terminal status of an upload.

    ``success`` is how many of its ``records`` succeeded; ``last`` is the terminal status of each chunk.
    The counts take precedence, because a job in which every record failed can still be ``Completed``.
    """
    if cancelled and (success < records or not records):
        return Status.STOPPED if success else Status.CANCELLED
    if success == records:
        return Status.COMPLETED
    if success:
        return Status.PARTIALLY_COMPLETED
    ends = set(last) - {Status.COMPLETED, Status.PARTIALLY_COMPLETED}
    return ends.pop() if len(ends) == 1 else Status.FAILED


def upload_message(records: int, success: int, errors: Mapping[str, int], words: Iterable[str]) -> str:
    """Returns a message about what failed, the distinct ``words`` of Bedrock first; "" if nothing failed."""
    parts = list(dict.fromkeys(word for word in words if word))
    failed = records - success
    if failed:
        codes = ", ".join(f"{count:,} with {code}" for code, count in sorted(errors.items()))
        by_code = f" ({codes})" if codes else ""
        parts.append(f"{failed:,} of {records:,} records failed{by_code}: their lines in the result say why.")
    parts += [advice for code, advice in _ADVICE.items() if code in errors]
    return " ".join(parts)[:MAX_MESSAGE]


def cancelling(upload: Upload) -> str:
    """Returns the message of an upload that is cancelled, and has not ended yet."""
    return f"cancelling: {_order(upload)}; what a job has begun ends with it"[:MAX_MESSAGE]


def cancelled(upload: Upload, not_run: int) -> str:
    """Returns the message of an upload that was cancelled; ``not_run``: the records that have no answer."""
    words = f"Cancelled {_order(upload)}."
    if not_run and upload.success_count:
        words += f" {upload.success_count:,} of {upload.records:,} records were answered before."
    others = "the others" if upload.success_count else "its records"
    return words + (f' The order "retry" runs {others}.' if not_run else "")


def _order(upload: Upload) -> str:
    by = f" by {upload.cancelled_by}" if upload.cancelled_by else ""
    why = f" ({upload.cancelled_why})" if upload.cancelled_why else ""
    return f"at {upload.cancelled_at}{by}{why}"


def denied(key: str, said: str) -> str:
    """Returns the message of an upload that S3 does not let the intake read; ``said`` is what S3 says."""
    return (
        f"waiting: S3 denied access to {key} ({said[:MAX_DENIED]}). Allow the role of create_batch_queue to "
        "read it, and to use its KMS key. The next sweep tries again. To try at once, start a sweep."
    )


def unclear(output_prefix: str) -> str:
    """Returns the message of an upload of which S3 does not let the intake see whether it has run."""
    return (
        "waiting: S3 denied access to the summary or the rejection report of this upload, so the queue "
        "cannot tell whether it has run. Allow the role of create_batch_queue to read the objects below "
        f"{output_prefix}, and to use their KMS key. The next sweep tries again. To try at once, start a "
        "sweep."
    )


def waits_again(job: Job, records: int, ran: bool) -> str:
    """Returns the message of an upload of which ``records`` return to the queue from a job that has ended.

    ``ran``: the job has run them.
    """
    said = f" ({job.message})" if job.message and job.status == Status.FAILED else ""
    if job.status == Status.CANCELLED:
        why = "too few records were left in a job"
    elif job.status in (Status.EXPIRED, Status.FAILED):
        ended = f"a job {job.status.lower()}"
        why = f"{ended}{said}" if ran else f"{ended} before it started{said}"
    else:
        why = f"a job ended as {job.status}"
    return f"waiting: {why[: MAX_MESSAGE // 2]}; {back_in_the_queue(records)}"


def counted(count: int, thing: str) -> str:
    """Returns a number with what it counts, such as "1 job" or "1,200 jobs"."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def back_in_the_queue(records: int) -> str:
    """Returns the words that so many records are in the queue again."""
    return f"{counted(records, 'record')} {'is' if records == 1 else 'are'} in the queue again"


def rejection(
    upload: Upload, what_to_do: str, fault_count: int, faults: list[dict[str, Any]]
) -> dict[str, Any]:
    """Returns the rejection report of an upload, as a JSON document."""
    return {
        "upload_id": upload.upload_id,
        "bucket": upload.bucket,
        "key": upload.key,
        "version_id": upload.version_id,
        "status": Status.REJECTED,
        "what_to_do": what_to_do,
        "fault_count": fault_count,
        "faults": faults,
    }


def summary(upload: Upload, chunks: Sequence[Chunk], route: Route | None) -> dict[str, Any]:
    """Returns the summary of an upload that has ended, as a JSON document.

    ``chunks``: all chunks of the upload; none if the table has lost them. ``route``: for the prices; None if
    it is no longer configured.
    """
    return {
        "upload_id": upload.upload_id,
        "key": upload.key,
        "version_id": upload.version_id,
        "route": upload.route,
        "status": upload.status,
        "message": upload.message,
        "records": upload.records,
        "successes": upload.success_count,
        "errors": upload.error_count,
        "errors_by_code": dict(sorted(errors_by_code(chunks).items())),
        "stop_reasons": dict(sorted(_stop_reasons(chunks).items())),
        "run": upload.run,
        **_cancelled(upload),
        "attempts": max((chunk.runs for chunk in chunks), default=0),
        "chunks": len(chunks),
        "jobs": sorted(upload.job_arns.union(*(chunk.job_arns for chunk in chunks))),
        "input_tokens": upload.input_tokens,
        "output_tokens": upload.output_tokens,
        **({"cost": spent} if (spent := cost_of(upload, route)) else {}),
        "created_at": upload.created_at,
        "ended_at": upload.ended_at,
        "result": {"key": upload.result_key, "version_id": upload.result_version_id},
    }


def _cancelled(upload: Upload) -> dict[str, Any]:
    if not upload.cancelled_at:
        return {}
    return {
        "cancelled": {"at": upload.cancelled_at, "by": upload.cancelled_by, "why": upload.cancelled_why},
    }


def errors_by_code(chunks: Iterable[Chunk]) -> Counter[str]:
    """Returns how many records of these chunks failed with each error code."""
    return sum((Counter(chunk.errors_by_code) for chunk in chunks), Counter())


def _stop_reasons(chunks: Iterable[Chunk]) -> Counter[str]:
    """Returns for how many records of these chunks the model stopped for each reason."""
    return sum((Counter(chunk.stop_reasons) for chunk in chunks), Counter())


def cost(route: Route | None, input_tokens: int, output_tokens: int) -> Decimal | None:
    """Returns what tokens cost, in the currency of the route's prices; None without prices."""
    if route is None or not (route.input_price and route.output_price):
        return None
    price = Decimal(route.input_price) * input_tokens + Decimal(route.output_price) * output_tokens
    return price / 1_000_000


def cost_of(upload: Upload, route: Route | None) -> str:
    """Returns what the tokens of an upload cost at the prices of its route, or "" if it has none."""
    found = cost(route, upload.input_tokens, upload.output_tokens)
    return "" if found is None else f"{found:.6f}"
