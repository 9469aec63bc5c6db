"""What an upload may be: its size, its records, and the chunks that it is split into."""

from __future__ import annotations

from . import names
from .cutting import MAX_LINE_BYTES, Limits
from .reading import Scan
from .rows import Route
from .settings import Settings

# A chunk is a tenth of what one file of a job may contain.
CHUNKS_PER_FILE = 10
# The largest upload: a result that is four times as large can be copied.
MAX_CHUNKS = 100_000
MAX_BYTES = 400_000_000_000
# A recordId takes 8 to 11 bytes of memory until the file is read.
MAX_RECORDS = 50_000_000
RECORDS_PER_MB = 50_000


def chunk_limits(route: Route) -> Limits:
    """Returns the limits of a route's chunks: a tenth of a file, so that they spread over the slots."""
    most_records = min(route.max_records_per_file, route.max_records_per_job)
    most_bytes = min(route.max_bytes_per_file, route.max_bytes_per_job)
    tenth = max(route.min_records_per_job, route.max_records_per_file // CHUNKS_PER_FILE)
    return Limits(
        chunk_records=min(most_records, tenth),
        chunk_bytes=min(most_bytes, route.max_bytes_per_file // CHUNKS_PER_FILE),
        least_records=route.min_records_per_job,
        most_records=most_records,
        most_bytes=most_bytes,
        line_bytes=min(MAX_LINE_BYTES, most_bytes),
    )


def most_records(memory_mb: int) -> int:
    """Returns how many records a function with this much memory can check for duplicates."""
    return min(MAX_RECORDS, memory_mb * RECORDS_PER_MB)


def unreadable(key: str, size: int, settings: Settings) -> str:
    """Returns why an object of this size (bytes) is rejected without being read, or ""."""
    result = names.report_key(key, settings.input_prefix, settings.output_prefix)
    if names.key_too_long(result):
        over = len(result.encode()) - names.MAX_KEY_BYTES
        return f"the keys of its results would be too long: shorten the name by {over} bytes"
    if size > MAX_BYTES:
        return f"the file has {size:,} bytes, and {MAX_BYTES:,} is the maximum: split it into several files"
    return ""


def too_much(scan: Scan, limits: Limits, most: int) -> str:
    """Returns why an input is rejected for what was read of it so far, or "". ``most``: ``most_records``."""
    if scan.records > most:
        advice = ", or raise lambda_memory_size" if most < MAX_RECORDS else ""
        return f"the file has more than {most:,} records: split it into several files{advice}"
    if len(scan.cuts) > MAX_CHUNKS:
        return (
            f"the file has more than {MAX_CHUNKS:,} chunks of {limits.chunk_records:,} records or "
            f"{limits.chunk_bytes:,} bytes: split it into several files, or raise "
            "max_records_per_file or max_bytes_per_file of its route"
        )
    return ""
