"""Dummy credentials: nothing in these tests may reach a real account."""

from tests.unit.conftest import _no_account

__all__ = ["_no_account"]
