"""The functions' dataclasses are as those of the standard library."""

from __future__ import annotations

import copy
import dataclasses
from dataclasses import asdict, field, fields, replace
from typing import Any

import pytest
from batch_queue.core import records

pytestmark = pytest.mark.unit


@dataclasses.dataclass(frozen=True, slots=True)
class Theirs:
    """One that the standard library defines."""

    name: str
    size: int = 1
    parts: tuple[str, ...] = field(default_factory=tuple)


@records.dataclass(frozen=True, slots=True)
class Ours:
    """The same."""

    name: str
    size: int = 1
    parts: tuple[str, ...] = field(default_factory=tuple)


@records.dataclass(frozen=True, slots=True)
class Other:
    """Another with the same fields."""

    name: str
    size: int = 1
    parts: tuple[str, ...] = field(default_factory=tuple)


@records.dataclass(frozen=True, slots=True)
class Single:
    """One with one field."""

    name: str


@records.dataclass(slots=True)
class Open:
    """One that may be changed."""

    name: str


@pytest.mark.parametrize("kind", [Theirs, Ours])
def test_one_is_made_compared_and_shown(kind: Any) -> None:
    one = kind("a", parts=("x",))
    assert (one.name, one.size, one.parts) == ("a", 1, ("x",))
    assert one == kind("a", 1, ("x",))
    assert one != kind("a", 2, ("x",))
    assert one != Other("a", 1, ("x",))
    assert one != ("a", 1, ("x",))
    assert len({one, kind("a", 1, ("x",)), kind("b")}) == 2
    assert repr(one) == f"{kind.__name__}(name='a', size=1, parts=('x',))"


@pytest.mark.parametrize("kind", [Theirs, Ours])
def test_one_is_known_to_the_module_dataclasses(kind: Any) -> None:
    one = kind("a")
    assert replace(one, size=3) == kind("a", 3)
    assert asdict(one) == {"name": "a", "size": 1, "parts": ()}
    assert [each.name for each in fields(kind)] == ["name", "size", "parts"]


@pytest.mark.parametrize("kind", [Theirs, Ours])
def test_one_is_copied(kind: Any) -> None:
    one = kind("a", parts=("x",))
    assert copy.deepcopy(one) == one
    assert not hasattr(one, "__dict__")


@pytest.mark.parametrize("kind", [Theirs, Ours])
def test_one_without_what_it_needs_is_not_made(kind: Any) -> None:
    with pytest.raises(TypeError, match="name"):
        kind()


def test_one_with_one_field_is_compared_by_it() -> None:
    assert Single("a") == Single("a")
    assert len({Single("a"), Single("a"), Single("b")}) == 2


def test_one_that_may_be_changed_has_no_hash() -> None:
    one = Open("a")
    one.name = "b"
    assert one == Open("b")
    with pytest.raises(TypeError):
        hash(one)
