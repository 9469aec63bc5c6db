"""The commands. Importing this package adds them to the app, in the order of its help."""

from . import submit, looking, watch, report, orders, doctor  # noqa: F401, I001
