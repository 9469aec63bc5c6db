"""Media that a modelInput links by S3 URI: finds the links in a line of input and rewrites them.

A link is ``{"s3Location": {"uri": "s3://…"}}``, the one shape in which Bedrock's requests name an object
(service model of bedrock-runtime, shape S3Location; Amazon Nova's complete request schema has it too).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

from .names import MAX_KEY_BYTES
from .reading import MAX_LINE_BYTES, RecordError

SCHEME = "s3://"
# The error code of records that were not run since an object that they or their neighbours link is missing.
UNAVAILABLE_CODE = "MediaUnavailable"
# A line without this key has no links; nothing else of it is looked at.
_LOCATION = b'"s3Location"'
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(rb"(" + _STRING + rb")(\s*+:)?|[{}\[\]]")
_UNSAFE = re.compile(r"[^-_.a-zA-Z0-9]")
_HASH = re.compile(r"^[0-9a-f]{32}-")
_NAME_CHARACTERS = 80
# The longest URI that a link is rewritten to: scheme, bucket (63), work prefix, job id, and name.
MAX_STAGED_URI = 512
_SHOWN = 300  # characters of a URI in a message


class Link(NamedTuple):
    """One link of a line: the URI, and which bytes ``[start, end)`` of the line are its JSON text."""

    start: int
    end: int
    uri: str


def links(line: bytes) -> list[Link]:
    """The links in the modelInput of a well-formed record, in their order.

    Costs one search for lines without the key ``s3Location``. The key is not found where its letters
    are written as escapes, which no JSON writer does.
    """
    if _LOCATION not in line:
        return []
    found = []
    path: list[bytes] = []  # the keys of the objects and arrays that are open; b"" inside an array
    key = b""
    for token in _TOKEN.finditer(line):
        text, colon = token.groups()
        if colon:
            key = text
        elif text is None and token[0] in b"{[":
            path.append(key)
            key = b""
        elif text is None:
            path.pop()
            key = b""
        elif key == b'"uri"' and path[-1] == _LOCATION and path[1] == b'"modelInput"':
            uri = json.loads(text)
            if uri.startswith(SCHEME):
                found.append(Link(*token.span(1), uri))
    return found


def rewritten(line: bytes, move: Callable[[str], str]) -> bytes:
    """The line with each link's URI replaced by what ``move`` gives for it; every other byte as it was."""
    pieces = []
    at = 0
    for link in links(line):
        pieces += [line[at : link.start], json.dumps(move(link.uri)).encode()]
        at = link.end
    return b"".join((*pieces, line[at:])) if pieces else line


def location(uri: str) -> tuple[str, str]:
    """The bucket and the key that an S3 URI names; the key stands in it as it is, not encoded."""
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    return bucket, key


def staged_name(uri: str) -> str:
    """Where a linked object lies below the input folder of a job: ``media/<hash of the URI>-<file name>``.

    Has only characters that Bedrock's ``s3Uri`` pattern allows, and never the ending by which Bedrock
    takes an object for an input file. The name of a staged object, staged anew, does not grow.
    """
    mark = blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    name = _UNSAFE.sub("_", _HASH.sub("", uri.rpartition("/")[2]))[-_NAME_CHARACTERS:] or "object"
    if name.lower().endswith(".jsonl"):
        name += ".media"
    return f"media/{mark}-{name}"


def check(line: bytes, identifier: str, *, bucket: str, route: str, allowed: bool) -> bool:
    """Whether a well-formed record links media, so that its line is rewritten on the way to Bedrock.

    ``allowed``: the route stages media. Raises RecordError for a link that cannot be staged.
    """
    found = links(line)
    for link in found:
        shown = link.uri[:_SHOWN]
        if not allowed:
            advice = f"set media = true on the route {route}, or give the media in the request itself"
            raise RecordError(f"modelInput links {shown}: {advice}", identifier)
        theirs, key = location(link.uri)
        if theirs != bucket:
            raise RecordError(
                f"modelInput links {shown}, in another bucket: put the object into {bucket}", identifier
            )
        if not _possible(key):
            raise RecordError(f"modelInput links {shown}, which is not the URI of an object", identifier)
    if found and len(line) + MAX_STAGED_URI * len(found) > MAX_LINE_BYTES:
        raise RecordError("too long for the URIs that its media will have: shorten the record", identifier)
    return bool(found)


def _possible(key: str) -> bool:
    try:
        return 0 < len(key.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:
        return False


def unavailable(keys: Iterable[str], bucket: str) -> str:
    """A sentence about linked objects that are missing or may not be read; names the first."""
    first, *more = sorted(keys)
    others = f" (and {len(more):,} more)" if more else ""
    return (
        f"Not run: modelInput links {SCHEME}{bucket}/{first[:_SHOWN]}{others}, which does not exist or "
        "cannot be read. Put it there and upload the file again."
    )


def staged(lines: Iterable[bytes], bucket: str, folder: str, sources: dict[str, str]) -> Iterator[bytes]:
    """The lines with every link into ``bucket`` rewritten to its place below ``folder`` (a key prefix).

    Fills ``sources`` on the way: for each key there, the key of the object that belongs there.
    """

    def move(uri: str) -> str:
        theirs, source = location(uri)
        if theirs != bucket:
            return uri
        key = folder + staged_name(uri)
        sources[key] = source
        return f"{SCHEME}{bucket}/{key}"

    for line in lines:
        yield rewritten(line, move)
