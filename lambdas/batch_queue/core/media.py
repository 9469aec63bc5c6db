"""Media that a modelInput references by S3 URI: finds the references in a line of input and rewrites them.

A reference is ``{"s3Location": {"uri": "s3://…"}}``, the only shape in which a Bedrock request references an
object (service model of bedrock-runtime, shape S3Location; also in Amazon Nova's complete request schema).
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator
from hashlib import blake2b
from typing import NamedTuple

from .cutting import MAX_LINE_BYTES
from .names import MAX_KEY_BYTES
from .reading import RecordError

SCHEME = "s3://"
# The error code of records that did not run because an object that their chunk references is missing.
UNAVAILABLE_CODE = "MediaUnavailable"
# The same for an object outside the media prefixes.
NOT_ALLOWED_CODE = "MediaNotAllowed"
# The same for an object, or the objects of a chunk together, that are larger than a job may have.
TOO_LARGE_CODE = "MediaTooLarge"
# Marks a chunk that waits for another job because what it references does not fit into this one.
NO_ROOM_CODE = "NoRoom"
# The most that a model reads from S3 for one request: 2 GB of documents or images, 1 GB of video (Amazon Nova
# User Guide). S3 copies ten such objects at a time well within the 300 s of a run.
MAX_OBJECT_BYTES = 2 * 1024**3
# A line without this key has no references.
LOCATION = b'"s3Location"'
_STRING = rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"'
_TOKEN = re.compile(rb"(" + _STRING + rb")(\s*+:)?|[{}\[\]]")
_UNSAFE = re.compile(r"[^-_.a-zA-Z0-9]")
_HASH = re.compile(r"^[0-9a-f]{32}-")
_NAME_CHARACTERS = 80
# The maximum length of a rewritten URI: scheme, bucket (63), work prefix, id of a job or upload, and name.
MAX_STAGED_URI = 512
_SHOWN = 300  # the maximum characters of a URI in a message


class Reference(NamedTuple):
    """A reference in a line: the URI, and the bytes ``[start, end)`` of the line with its JSON string."""

    start: int
    end: int
    uri: str


def references(line: bytes) -> list[Reference]:
    """Returns the references in the modelInput of a well-formed record, in order.

    A line without the key ``s3Location`` costs one search. A key whose letters are written as escape
    sequences is not found; no JSON writer does that.
    """
    if LOCATION not in line:
        return []
    found = []
    path: list[bytes] = []  # the keys of the open objects and arrays; b"" inside an array
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
        elif key == b'"uri"' and path[-1] == LOCATION and path[1] == b'"modelInput"':
            uri = json.loads(text)
            if uri.startswith(SCHEME):
                found.append(Reference(*token.span(1), uri))
    return found


def rewritten(line: bytes, move: Callable[[str], str]) -> bytes:
    """Returns the line with each reference's URI replaced by ``move(uri)``; every other byte is unchanged."""
    pieces = []
    at = 0
    for reference in references(line):
        pieces += [line[at : reference.start], json.dumps(move(reference.uri)).encode()]
        at = reference.end
    return b"".join((*pieces, line[at:])) if pieces else line


def location(uri: str) -> tuple[str, str]:
    """Returns the bucket and the key of an S3 URI. The key in an S3 URI is not URL-encoded."""
    bucket, _, key = uri.removeprefix(SCHEME).partition("/")
    return bucket, key


def staged_name(uri: str) -> str:
    """Returns the key of a staged object relative to a job's input folder.

    The format is ``media/<hash of the URI>-<file name>``. The name has only characters that Bedrock's
    ``s3Uri`` pattern allows, and never ends in ``.jsonl``, because Bedrock reads such objects as input
    files. Staging a staged object again does not make its name longer.
    """
    mark = blake2b(uri.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()
    name = _UNSAFE.sub("_", _HASH.sub("", uri.rpartition("/")[2]))[-_NAME_CHARACTERS:] or "object"
    if name.lower().endswith(".jsonl"):
        name += ".media"
    return f"media/{mark}-{name}"


def check(
    line: bytes, identifier: str, *, bucket: str, route: str, allowed: bool, prefixes: tuple[str, ...]
) -> bool:
    """Returns whether a well-formed record references media, so that staging rewrites its line.

    ``allowed``: the route stages media. ``prefixes``: the key prefixes of the objects that may be referenced.
    Raises RecordError for a reference that cannot be staged.
    """
    found = references(line)
    for reference in found:
        shown = reference.uri[:_SHOWN]
        if not allowed:
            advice = f"set media = true on the route {route}, or include the media in the request itself"
            raise RecordError(f"modelInput references {shown}: {advice}", identifier)
        theirs, key = location(reference.uri)
        if theirs != bucket:
            raise RecordError(
                f"modelInput references {shown}, in another bucket: copy the object to {bucket}", identifier
            )
        if not _possible(key):
            raise RecordError(f"modelInput references {shown}, which is not the URI of an object", identifier)
        if not key.startswith(prefixes):
            folders = ", ".join(prefixes)
            advice = "copy the object below one of them, or add its prefix to the input media_prefixes"
            raise RecordError(f"modelInput references {shown}, outside {folders}: {advice}", identifier)
    if found and len(line) + MAX_STAGED_URI * len(found) > MAX_LINE_BYTES:
        raise RecordError("too long after its media URIs are rewritten: shorten the record", identifier)
    return bool(found)


def _possible(key: str) -> bool:
    try:
        return 0 < len(key.encode()) <= MAX_KEY_BYTES
    except UnicodeEncodeError:
        return False


def unavailable(keys: Iterable[str], bucket: str) -> str:
    """Returns a message about referenced objects that are missing or unreadable; it names the first key."""
    return (
        f"Not run: modelInput references {_first_of(keys, bucket)}, which does not exist or "
        "cannot be read. Add the object or grant access to it, then upload the file again."
    )


def object_too_large(key: str, size: int, bucket: str) -> str:
    """Returns a message about a referenced object of ``size`` bytes, which is more than any model reads."""
    return (
        f"Not run: modelInput references {SCHEME}{bucket}/{key[:_SHOWN]}, which has {size:,} bytes. The most "
        f"that a model reads is {MAX_OBJECT_BYTES:,}. Reference a smaller object, then upload the file again."
    )


def objects_too_large(size: int, most: int, largest: str, largest_size: int, bucket: str) -> str:
    """Returns a message about records whose referenced objects make any job with them too large.

    ``size`` and ``most``: the bytes of the job, and what the route allows.
    """
    return (
        f"Not run: with the objects that these records reference, their job would have {size:,} bytes. The "
        f"route's max_bytes_per_job is {most:,}. The largest object is "
        f"{SCHEME}{bucket}/{largest[:_SHOWN]} with {largest_size:,} bytes. Split the file or reference "
        "smaller objects, then upload again."
    )


def not_allowed(keys: Iterable[str], bucket: str, prefixes: Iterable[str]) -> str:
    """Returns a message about referenced objects outside the media prefixes; it names the first key."""
    return (
        f"Not run: modelInput references {_first_of(keys, bucket)}, outside {', '.join(prefixes)}. Copy the "
        "object below one of them, or add its prefix to the input media_prefixes, then upload the file again."
    )


def _first_of(keys: Iterable[str], bucket: str) -> str:
    first, *more = sorted(keys)
    others = f" (and {len(more):,} more)" if more else ""
    return f"{SCHEME}{bucket}/{first[:_SHOWN]}{others}"


def staged(
    lines: Iterable[bytes], bucket: str, folder: str, sources: dict[str, str], below: str = ""
) -> Iterator[bytes]:
    """Yields the lines with every reference to an object in ``bucket`` rewritten to a key under ``folder``.

    ``folder`` is a key prefix. ``below``: rewrite only references to keys with this prefix. Fills
    ``sources``: each new key, with the key of the object to copy there.
    """

    def move(uri: str) -> str:
        theirs, source = location(uri)
        if theirs != bucket or not source.startswith(below):
            return uri
        key = folder + staged_name(uri)
        sources[key] = source
        return f"{SCHEME}{bucket}/{key}"

    for line in lines:
        yield rewritten(line, move)
