"""Dummy credentials: nothing in these tests may reach a real account."""

from tests.unit.conftest import no_account

__all__ = ["no_account"]
