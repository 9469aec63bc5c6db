"""Many actors at one time, under a virtual clock: each is a thread, and only one of them runs.

An actor runs until it sleeps; then the next whose time has come goes on. Waiting costs no real time.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections.abc import Callable

STACK_BYTES = 512 * 1024  # of each thread: there may be thousands


class Turns:
    """Runs actors in the order of their times, and gives threads that are done their next actor."""

    def __init__(self, start: float = 0.0) -> None:
        self.now = start
        self._order = itertools.count()
        self._due: list[tuple[float, int, Callable[[], None] | None, threading.Lock | None]] = []
        self._idle: list[tuple[threading.Lock, list[Callable[[], None]]]] = []
        self._done = threading.Event()
        self._error: BaseException | None = None

    def __call__(self) -> float:
        """The time, in seconds."""
        return self.now

    def start(self, actor: Callable[[], None], delay: float = 0.0) -> None:
        """Has an actor begin in ``delay`` seconds."""
        heapq.heappush(self._due, (self.now + delay, next(self._order), actor, None))

    def sleep(self, seconds: float) -> None:
        """Lets time pass for the actor that calls it, and so lets the others go on."""
        if self._error is not None:
            raise SystemExit
        at = self.now + seconds
        if not self._due or at < self._due[0][0]:
            self.now = at
            return
        baton = threading.Lock()
        baton.acquire()
        heapq.heappush(self._due, (at, next(self._order), None, baton))
        self._pass_on()
        baton.acquire()

    def park(self, keep: Callable[[threading.Lock], None]) -> None:
        """Has the actor that calls it wait until the baton that ``keep`` gets is given to ``unpark``."""
        baton = threading.Lock()
        baton.acquire()
        keep(baton)
        self._pass_on()
        baton.acquire()
        if self._error is not None:
            raise SystemExit

    def unpark(self, baton: threading.Lock) -> None:
        """Lets a parked actor go on, at the time that it is now."""
        heapq.heappush(self._due, (self.now, next(self._order), None, baton))

    def run(self) -> None:
        """Lets everything happen. Raises the first error that an actor did not handle itself."""
        known = threading.stack_size(STACK_BYTES)
        try:
            self._pass_on()
            self._done.wait()
        finally:
            threading.stack_size(known)
            for free, _ in self._idle:
                free.release()
            self._idle.clear()
            self._done.clear()
        if self._error is not None:
            raise self._error

    def _pass_on(self) -> None:
        """Lets whoever is next go on, in its own thread."""
        if not self._due:
            self._done.set()
            return
        self.now, _, actor, baton = heapq.heappop(self._due)
        if baton is not None:
            baton.release()
        elif actor is not None and self._idle:
            free, work = self._idle.pop()
            work.append(actor)
            free.release()
        elif actor is not None:
            threading.Thread(target=self._work, args=(actor,), daemon=True).start()

    def _work(self, actor: Callable[[], None]) -> None:
        baton = threading.Lock()
        baton.acquire()
        work = [actor]
        while work:
            try:
                work.pop()()
            except BaseException as error:  # noqa: BLE001 - the caller of run raises it
                self._error = self._error or error
                self._done.set()
                return
            # Whoever is next may be an actor that has not begun: then it is this thread's.
            if self._due and self._due[0][2] is not None:
                self.now, _, following, _ = heapq.heappop(self._due)
                assert following is not None
                work.append(following)
                continue
            self._idle.append((baton, work))
            self._pass_on()
            baton.acquire()
