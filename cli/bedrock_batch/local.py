"""Files on this machine: the keys that they get, and what the queue will say of them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import field
from functools import partial
from pathlib import Path

from batch_queue.core import admission, duplicates, media, names, reading
from batch_queue.core.cutting import Cut
from batch_queue.core.records import dataclass
from batch_queue.core.rows import Route
from batch_queue.core.settings import Settings
from batch_queue.steps.validation import MAX_SUSPECTS

from .errors import InputError
from .results import encodable

SUFFIX = ".jsonl"
_BLOCK = 1 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """A file, and the key of the object that it is uploaded to."""

    path: Path
    key: str
    route: str


@dataclass(frozen=True, slots=True)
class Checked:
    """A file that was read: what the queue will take in, or why it will reject the file.

    ``faults``: the first of ``fault_count``. ``cuts``: the chunks that it is split into. ``sha256``: of the
    file, in hex. ``modified``: when it was last modified before it was read (nanoseconds).
    """

    source: Source
    size: int
    records: int = 0
    cuts: tuple[Cut, ...] = ()
    fault_count: int = 0
    faults: tuple[reading.Fault, ...] = field(default=())
    sha256: str = ""
    modified: int = 0

    def changed(self) -> bool:
        """Returns whether the file is not the one that was checked any more. Raises OSError."""
        now = self.source.path.stat()
        return (now.st_size, now.st_mtime_ns) != (self.size, self.modified)


def sources(
    path: Path, input_prefix: str, routes: Collection[str], *, to: str = "", route: str = ""
) -> tuple[list[Source], int]:
    """Returns the files to upload with their keys, and how many files are left out.

    A file gets the key ``<input prefix>[route/][to/]<name>``, a file of a folder its path below the folder in
    place of the name. Raises InputError if there is nothing to upload, or a name cannot be used.
    """
    if route and route not in routes:
        raise InputError(
            f'there is no route "{route}". The routes of this queue are {", ".join(sorted(routes))}'
        )
    if not path.exists():
        raise InputError(f"{path} does not exist")
    names_of = _below(path) if path.is_dir() else {path: path.name}
    left_out = [one for one in names_of if one.suffix != SUFFIX]
    if path.is_file() and left_out:
        raise InputError(f"{path} must be named *{SUFFIX}: the queue takes only such files. Rename it")
    chosen = {one: name for one, name in names_of.items() if one.suffix == SUFFIX}
    if not chosen:
        raise InputError(f"there is no file *{SUFFIX} below {path}")
    found = [_source(one, name, input_prefix, routes, to, route) for one, name in sorted(chosen.items())]
    return found, len(left_out)


def _below(folder: Path) -> dict[Path, str]:
    def unreadable(error: OSError) -> None:
        raise InputError(f"{error.filename} cannot be read: {error.strerror}") from error

    found = []
    for root, folders, files in os.walk(folder, onerror=unreadable):
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(root, name) for name in files if not name.startswith(".")]
    return {one: one.relative_to(folder).as_posix() for one in found if one.is_file()}


def _source(path: Path, name: str, input_prefix: str, routes: Collection[str], to: str, route: str) -> Source:
    folder = f"{to.strip('/')}/".removeprefix(input_prefix).strip("/")
    if {"", ".", ".."} & set(folder.split("/")) and folder:
        raise InputError(f'--to is "{to}": write a folder without empty parts and dots, such as 2026/january')
    parts = [
        *([route] if route and route != names.DEFAULT_ROUTE else []),
        *([folder] if folder else []),
        name,
    ]
    key = input_prefix + "/".join(parts)
    if not encodable(key):
        raise InputError(f"the name of {str(path)!a} is no UTF-8, and so no key of S3. Rename it")
    selected = names.route_name(key, input_prefix, routes)
    if route and selected != route:
        raise InputError(
            f"{path} would run on the route {selected}, because its first folder has that name. Add --to "
            "with another folder, or leave out --route"
        )
    return Source(path, key, selected)


def named(path: Path, name: str) -> Path:
    """Renames a file of ours, so that it can be uploaded by this name. Raises InputError for a wrong name."""
    if Path(name).name != name or not name.endswith(SUFFIX):
        raise InputError(f'the name is "{name}": write one that ends with {SUFFIX}, without folders')
    return path.rename(path.with_name(name))


def check(
    source: Source, route: Route, settings: Settings, told: Callable[[int], None] = lambda _: None
) -> Checked:
    """Reads a file as the function that takes it in does. ``told`` gets the bytes of each block.

    Memory is bounded by the longest line plus 8 bytes for each record. Raises InputError if the file cannot
    be read.
    """
    try:
        return _check(source, route, settings, told)
    except OSError as error:
        raise InputError(f"{source.path} cannot be read: {error.strerror}") from error


def _check(source: Source, route: Route, settings: Settings, told: Callable[[int], None]) -> Checked:
    before = source.path.stat()
    size = before.st_size
    if reason := admission.unreadable(source.key, size, settings):
        return Checked(source, size, fault_count=1, faults=(reading.Fault(0, reason),))
    sha256 = hashlib.sha256()

    def read() -> Iterator[bytes]:
        for block in _blocks(source.path):
            sha256.update(block)
            told(len(block))
            yield block

    limits = admission.chunk_limits(route)
    referenced = partial(
        media.check,
        bucket=settings.bucket,
        route=route.name,
        allowed=route.media,
        prefixes=settings.media_prefixes,
    )
    scan = reading.scan(read(), limits, check=referenced, checked=media.LOCATION)
    suspects = scan.ids.twice(MAX_SUSPECTS)
    if suspects:
        scan.merge(duplicates.find(_blocks(source.path), duplicates.Duplicates(suspects), limits).faults)
    if reason := admission.too_much(scan, limits, admission.MAX_RECORDS):
        scan.add(reading.Fault(0, reason))
    return Checked(
        source,
        size,
        scan.records,
        tuple(scan.cuts),
        scan.fault_count,
        tuple(scan.faults),
        sha256.hexdigest(),
        before.st_mtime_ns,
    )


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            yield block


def first_faults(checked: Collection[Checked], most: int = 20) -> str:
    """Returns the first faults of some files in words: file, line, reason."""
    lines = [
        f"{one.source.path}{f':{fault.line}' if fault.line else ''}: {fault.reason}"
        for one in checked
        for fault in one.faults
    ]
    more = sum(one.fault_count for one in checked) - len(lines[:most])
    return "\n".join(lines[:most]) + (f"\nand {more:,} more" if more else "")


def routes_of(checked: Collection[Checked], routes: Mapping[str, Route]) -> dict[str, list[Checked]]:
    """Returns route → the files that run on it, for those that are configured."""
    found: dict[str, list[Checked]] = {}
    for one in checked:
        if one.source.route in routes:
            found.setdefault(one.source.route, []).append(one)
    return found
