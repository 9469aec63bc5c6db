"""The start of a function's process: what each run needs is imported and made there, not in the handler."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def start() -> Iterator[None]:
    """Imports modules and makes clients in less time: the garbage collector does not look at them.

    They stay as long as the process, so it finds nothing there, and nor would it later.
    """
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        if enabled:
            gc.enable()
