"""Dataclasses that take a third of the time to define, which counts at each start of a function.

The standard library compiles up to seven methods for a class; this compiles the constructor alone. The others
are the same for all classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

__all__ = ["dataclass"]

if TYPE_CHECKING:
    from dataclasses import dataclass
else:
    from dataclasses import dataclass as _dataclass
    from dataclasses import fields
    from operator import attrgetter

    def dataclass(*, frozen=False, slots=False, order=False):
        """As the standard library's, but that only the type checker keeps a frozen one from being changed."""
        if order:
            return _dataclass(frozen=frozen, slots=slots, order=order)

        def define(kind):
            kind = _dataclass(repr=False, eq=False, slots=slots)(kind)
            names = [field.name for field in fields(kind)]
            values = attrgetter(*names)

            def equal(self, other):
                return values(self) == values(other) if other.__class__ is self.__class__ else NotImplemented

            def text(self):
                told = ", ".join(f"{name}={getattr(self, name)!r}" for name in names)
                return f"{kind.__qualname__}({told})"

            kind.__eq__ = equal
            kind.__repr__ = text
            kind.__hash__ = (lambda self: hash(values(self))) if frozen else None
            return kind

        return define
