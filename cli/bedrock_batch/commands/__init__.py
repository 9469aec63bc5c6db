"""The commands. Importing this package adds them to the app, in the order of its help."""

from . import submit, looking, watch, report, orders, doctor  # noqa: I001
from bedrock_batch.app import app

__all__ = ["app", "doctor", "looking", "orders", "report", "submit", "watch"]
