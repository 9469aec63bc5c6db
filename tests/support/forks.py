"""One history, and beside it every history that differs from it by one thing.

``Forks.split`` is called in the middle of a run, and copies the process. The original goes on as if nothing
had been; the copy, where ``split`` is true, does something else from there and reports how it ended. So all
variants have exactly the same past, which is lived once.
"""

from __future__ import annotations

import gc
import os
import signal
import tempfile
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

SECONDS = 120  # a copy that takes longer hangs, and is ended


@dataclass
class Forks:
    """The copies of a run: at most ``at_once`` live at a time."""

    at_once: int = field(default_factory=lambda: os.cpu_count() or 1)
    variant: str = ""
    _alive: dict[int, str] = field(default_factory=dict)
    _ended: dict[str, str] = field(default_factory=dict)
    _folder: Path = Path()

    def split(self, name: str) -> bool:
        """True in a new copy that is called ``name``, false in the original; a copy has no copies."""
        if self.variant:
            return False
        while len(self._alive) >= self.at_once:
            self._wait()
        child = os.fork()
        if child:
            self._alive[child] = name
            return False
        self.variant = name
        gc.disable()  # a collection would touch, and so copy, all that the copies share
        signal.alarm(SECONDS)
        return True

    def run(self, history: Callable[[], None]) -> dict[str, str]:
        """Runs a history with all its variants; gives how each one failed, or "", by name.

        What the original raises is raised.
        """
        with tempfile.TemporaryDirectory() as folder:
            self._folder = Path(folder)
            try:
                history()
            except BaseException:
                if self.variant:
                    self._leave(traceback.format_exc())
                raise
            finally:
                if self.variant:
                    self._leave("")
                while self._alive:
                    self._wait()
        return self._ended

    def _leave(self, failure: str) -> None:
        """Ends this copy without a word to whoever started the original."""
        (self._folder / str(os.getpid())).write_text(failure)
        os._exit(0)

    def _wait(self) -> None:
        child, status = os.waitpid(-1, 0)
        report = self._folder / str(child)
        told = report.read_text() if report.exists() else f"the copy was ended (wait status {status})"
        self._ended[self._alive.pop(child)] = told
