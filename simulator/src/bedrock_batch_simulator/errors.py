"""Errors the simulated service answers with, and how the wire shows them."""

from __future__ import annotations

from botocore.exceptions import ClientError

HTTP_STATUS = {
    "ValidationException": 400,
    "ConflictException": 400,
    "ServiceQuotaExceededException": 400,
    "TooManyTagsException": 400,
    "AccessDeniedException": 403,
    "ResourceNotFoundException": 404,
    "ModelTimeoutException": 408,
    "ModelErrorException": 424,
    "ThrottlingException": 429,
    "InternalServerException": 500,
    "ServiceUnavailableException": 503,
}
"""HTTP status by error code, from botocore's models of `bedrock` and `bedrock-runtime`."""

ERROR_STATUSES = range(400, 600)
"""The HTTP statuses with which a record can fail."""

_SERVER_ERRORS = 500


class ApiError(Exception):
    """An error answer of the service.

    `code` is a key of `HTTP_STATUS`, `message` what stands in the body, `status` the HTTP status.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message
        self.status = HTTP_STATUS[code]


class InputError(Exception):
    """The input is not acceptable; the text becomes the message of the Failed job."""


class ConnectionLostError(Exception):
    """The effect took place, and the connection was closed before an answer was written."""


class ConfigError(ValueError):
    """A configuration or control call that cannot be taken; the text says where and what to write."""


def is_passing(error: ClientError) -> bool:
    """Whether AWS answered with a fault of its own, so that the same call may succeed another time."""
    return int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 500)) >= _SERVER_ERRORS
