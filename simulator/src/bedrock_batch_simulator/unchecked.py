"""What could not be checked in the AWS beside the simulator."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import ClientError

from .errors import is_passing

_NOT_IMPLEMENTED = 501
_NO_OPERATION = ("NotImplemented", "NotImplementedException", "UnknownOperationException", "UnknownOperation")
_WORDS = re.compile(r"not (yet |been )?implemented|not enabled", re.IGNORECASE)


class Unchecked:
    """Collects what could not be checked, and why, so that nothing is passed over silently."""

    def __init__(self) -> None:
        self._notes: dict[str, None] = {}

    @property
    def notes(self) -> tuple[str, ...]:
        """One line for each thing: what, and why not."""
        return tuple(self._notes)

    def skip(self, what: str, why: str) -> None:
        """Note that `what` is not checked."""
        self._notes[f"{what}: {why}"] = None

    @contextmanager
    def asking(self, what: str) -> Iterator[None]:
        """Ask other services about `what`; an answer that says nothing of it is noted.

        Raises ClientError for a passing fault of a service, and InputError as it comes.
        """
        try:
            yield
        except NotImplementedError as error:  # moto's
            self.skip(what, str(error) or "not implemented")
        except ClientError as error:
            code = error.response["Error"].get("Code")
            if is_not_implemented(error):
                self.skip(what, f"{error.operation_name} is not implemented")
            elif is_passing(error):
                raise
            else:
                self.skip(what, f"{error.operation_name} answered {code}")


def is_not_implemented(error: ClientError) -> bool:
    """Whether an emulator of AWS says that it does not have the operation, or not even the service."""
    told = error.response["Error"]
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    in_words = _WORDS.search(told.get("Message", "")) is not None
    return status == _NOT_IMPLEMENTED or told.get("Code") in _NO_OPERATION or in_words
