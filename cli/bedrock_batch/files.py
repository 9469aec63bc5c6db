"""Files that are written whole or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from .errors import InputError


@contextmanager
def whole(target: Path) -> Iterator[Path]:
    """Gives the path to write to, which becomes ``target`` in the end, or is removed after an error.

    A pipe or a device, such as /dev/null, is written to: it must not become a file. Raises InputError for
    an OSError.
    """
    special = target.exists() and not target.is_file() and not target.is_dir()
    part = target if special else target.with_name(f"{target.name}.part")
    try:
        yield part
        if not special:
            part.replace(target)
    except OSError as error:
        raise InputError(f"{target} cannot be written: {error.strerror}") from error
    finally:
        if not special:
            with suppress(OSError):
                part.unlink()
