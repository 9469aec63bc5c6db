"""Requests held against botocore's own model of the service: members, types, lengths, patterns, enums."""

from __future__ import annotations

import base64
import binascii
import datetime as dt
import functools
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any
from urllib.parse import parse_qs, unquote

from botocore.loaders import Loader
from botocore.model import ListShape, MapShape, OperationModel, ServiceModel, Shape, StructureShape

from . import rules, strict_json

TAG_OPERATIONS = ("ListTagsForResource", "TagResource", "UntagResource")
"""Those of the service `bedrock` that are about a resource of any kind."""

JOB_OPERATIONS = (
    "CreateModelInvocationJob",
    "GetModelInvocationJob",
    "ListModelInvocationJobs",
    "StopModelInvocationJob",
    "ListFoundationModels",
    "GetFoundationModel",
    "ListInferenceProfiles",
    "GetInferenceProfile",
    *TAG_OPERATIONS,
)
"""Those of the service `bedrock`."""

STREAMS = {"InvokeModelWithResponseStream": "InvokeModel", "ConverseStream": "Converse"}
"""The operations that answer in a stream, and those that say the same without one."""

RUNTIME_OPERATIONS = ("InvokeModel", "Converse", *STREAMS)
"""Those of the service `bedrock-runtime`."""

OPERATIONS = (*JOB_OPERATIONS, *RUNTIME_OPERATIONS)

_LINEAR = {
    # The model's own pattern backtracks for ever on many hyphens. Together with the maximum of 63 characters
    # this is the same set of names (tested).
    r"[a-zA-Z0-9]{1,63}(-*[a-zA-Z0-9\+\-\.]){0,63}": r"[a-zA-Z0-9][a-zA-Z0-9+.-]*",
}


@functools.cache
def service_model(service: str = "bedrock") -> ServiceModel:
    """The model of `service` in botocore; raises RuntimeError when that is too old for the simulator."""
    model = ServiceModel(Loader().load_service_model(service, "service-2"), service_name=service)
    if service == "bedrock":
        shape = model.shape_for("GetModelInvocationJobResponse")
        members = shape.members if isinstance(shape, StructureShape) else ()
        if "totalRecordCount" not in members or "modelInvocationType" not in members:
            raise RuntimeError(
                "the Bedrock simulator needs botocore 1.42.88 or newer, whose model has the counts"
            )
    return model


def operation_model(operation: str) -> OperationModel:
    """The model of one of `OPERATIONS`."""
    service = "bedrock-runtime" if operation in RUNTIME_OPERATIONS else "bedrock"
    return service_model(service).operation_model(operation)


@functools.cache
def _compiled(pattern: str) -> re.Pattern[str]:
    return re.compile(_LINEAR.get(pattern, pattern))


def faults(shape: Shape, value: Any, path: str, *, closed: bool = False) -> Iterator[str]:
    """What is wrong with the JSON `value` for `shape`, one sentence each, with the `path` of the member.

    Unknown members are passed over, as the service does, unless `closed`.
    """
    if isinstance(shape, StructureShape):
        if not getattr(shape, "is_document_type", False):
            yield from _structure_faults(shape, value, path, closed=closed)
    elif isinstance(shape, ListShape):
        if not isinstance(value, list):
            yield _type_fault(path, "a list", value)
            return
        yield from _length_faults(shape, len(value), path, value)
        for index, each in enumerate(value):
            yield from faults(shape.member, each, f"{path}.{index + 1}.member", closed=closed)
    elif isinstance(shape, MapShape):
        if not isinstance(value, Mapping):
            yield _type_fault(path, "an object", value)
            return
        for key, each in value.items():
            yield from faults(shape.value, each, _join(path, key), closed=closed)
    elif shape.type_name == "string":
        yield from _string_faults(shape, value, path)
    elif shape.type_name == "blob":
        yield from _blob_faults(shape, value, path)
    else:
        yield from _plain_faults(shape, value, path)


def _structure_faults(shape: StructureShape, value: Any, path: str, *, closed: bool) -> Iterator[str]:
    if not isinstance(value, Mapping):
        yield _type_fault(path, "an object", value)
        return
    for name in shape.required_members:
        if value.get(name) is None and shape.members[name].serialization.get("location") != "uri":
            yield f"Value null at '{_join(path, name)}' failed to satisfy constraint: Member must not be null"
    given = [name for name in value if name in shape.members and value[name] is not None]
    if shape.metadata.get("union") and len(given) != 1:
        members = ", ".join(shape.members)
        yield f"Value at '{path}' failed to satisfy constraint: Member must have exactly one of {members}"
    for name in given:
        yield from faults(shape.members[name], value[name], _join(path, name), closed=closed)
    if closed:
        pointer = _join("#", path.replace(".", "/"), "/")
        yield from (
            f"{pointer}: extraneous key [{name}] is not permitted"
            for name in value
            if name not in shape.members
        )


_PLAIN: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "integer": ("an integer", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "long": ("an integer", lambda value: isinstance(value, int) and not isinstance(value, bool)),
    "float": ("a number", lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)),
    "double": ("a number", lambda value: isinstance(value, (int, float)) and not isinstance(value, bool)),
    "boolean": ("a boolean", lambda value: isinstance(value, bool)),
    "timestamp": ("an ISO 8601 time", lambda value: isinstance(value, dt.datetime)),
}


def _plain_faults(shape: Shape, value: Any, path: str) -> Iterator[str]:
    what, fits = _PLAIN.get(shape.type_name, ("", lambda _: True))
    if not fits(value):
        yield _type_fault(path, what, value)
        return
    minimum, maximum = shape.metadata.get("min"), shape.metadata.get("max")
    if minimum is not None and value < minimum:
        yield _constraint(path, value, f"have value greater than or equal to {minimum}")
    if maximum is not None and value > maximum:
        yield _constraint(path, value, f"have value less than or equal to {maximum}")


def _string_faults(shape: Shape, value: Any, path: str) -> Iterator[str]:
    if not isinstance(value, str):
        yield _type_fault(path, "a string", value)
        return
    too_long = False
    for sentence in _length_faults(shape, len(value), path, value):
        too_long = True
        yield sentence
    enum = shape.metadata.get("enum")
    if enum and value not in enum:
        yield _constraint(path, value, f"satisfy enum value set: [{', '.join(enum)}]")
    pattern = shape.metadata.get("pattern")
    if pattern and not too_long and not _compiled(pattern).fullmatch(value):
        yield _constraint(path, value, f"satisfy regular expression pattern: {pattern}")


def _blob_faults(shape: Shape, value: Any, path: str) -> Iterator[str]:
    """A blob is bytes as a raw payload, and base64 within JSON."""
    try:
        raw = value if isinstance(value, bytes) else base64.b64decode(value, validate=True)
    except (TypeError, ValueError, binascii.Error):
        yield f"Value at '{path}' failed to satisfy constraint: Member must be base64"
        return
    yield from _length_faults(shape, len(raw), path, f"{len(raw)} bytes")


def _length_faults(shape: Shape, length: int, path: str, value: Any) -> Iterator[str]:
    minimum, maximum = shape.metadata.get("min"), shape.metadata.get("max")
    if minimum is not None and length < minimum:
        yield _constraint(path, value, f"have length greater than or equal to {minimum}")
    if maximum is not None and length > maximum:
        yield _constraint(path, value, f"have length less than or equal to {maximum}")


def _constraint(path: str, value: Any, what: str) -> str:
    return f"Value '{value}' at '{path}' failed to satisfy constraint: Member must {what}"


def _type_fault(path: str, what: str, value: Any) -> str:
    return (
        f"Value at '{path}' failed to satisfy constraint: Member must be {what}, not {type(value).__name__}"
    )


def _join(path: str, name: str, by: str = ".") -> str:
    return f"{path}{by}{name}" if path and name else path or name


_IN_THE_PATH = {
    "GetModelInvocationJob": "jobIdentifier",
    "StopModelInvocationJob": "jobIdentifier",
    "GetFoundationModel": "modelIdentifier",
    "GetInferenceProfile": "inferenceProfileIdentifier",
    **dict.fromkeys(RUNTIME_OPERATIONS, "modelId"),
}


def _outside_the_body(operation: str, params: Mapping[str, Any]) -> dict[str, Any]:
    """The members in the path, the headers or as raw payload; the model itself judges a JSON body."""
    shape: Any = operation_model(operation).input_shape
    payload = shape.serialization.get("payload")
    members = shape.members
    return {
        name: value
        for name, value in params.items()
        if name in members and (name == payload or members[name].serialization.get("location"))
    }


def check_request(operation: str, params: Mapping[str, Any]) -> None:
    """Raise a ValidationException (`ApiError`) that lists what is wrong with `params`, if anything is."""
    shape = operation_model(operation).input_shape
    held = params if operation in JOB_OPERATIONS else _outside_the_body(operation, params)
    found = list(faults(shape, held, "")) if shape is not None else []
    if (name := _IN_THE_PATH.get(operation)) and not params.get(name):
        found.append(f"Value null at '{name}' failed to satisfy constraint: Member must not be null")
    if found:
        many = "s" if len(found) > 1 else ""
        raise rules.CONSTRAINTS.error(count=len(found), s=many, faults="; ".join(found))


def only_modelled(operation: str, answer: Mapping[str, Any]) -> dict[str, Any]:
    """`answer` without what the operation's output shape does not know, and without None."""
    shape = operation_model(operation).output_shape
    return {} if shape is None else _shaped(shape, answer)


def _shaped(shape: Shape, value: Any) -> Any:
    if getattr(shape, "is_document_type", False):
        return value
    if isinstance(shape, StructureShape):
        return {
            name: _shaped(member, value[name])
            for name, member in shape.members.items()
            if value.get(name) is not None
        }
    if isinstance(shape, ListShape):
        return [_shaped(shape.member, each) for each in value]
    return value


@functools.cache
def _routes() -> list[tuple[str, re.Pattern[str], str]]:
    routes = []
    for operation in OPERATIONS:
        http = operation_model(operation).http
        part = r"(?P<\1>.*?)" if operation in JOB_OPERATIONS else r"(?P<\1>[^/]+)"
        path = re.sub(r"\{(\w+)\}", part, http["requestUri"])
        routes.append((http["method"], re.compile(path), operation))
    # A path with more after the identifier is the more special one.
    return sorted(routes, key=lambda route: -len(route[1].pattern))


def has_route(method: str, path: str) -> bool:
    """Whether an operation has that method and path."""
    return any(wanted == method and pattern.fullmatch(path) for wanted, pattern, _ in _routes())


def route(
    method: str, path: str, query: str, body: bytes, headers: Mapping[str, str] | None = None
) -> tuple[str, dict[str, Any]] | None:
    """The operation and the parameters of an HTTP request, None when no operation has that method and path.

    Members in the query are turned into the types of the model, a payload stays as it is, any other body is
    a JSON object; raises `ApiError` when one of them cannot be taken.
    """
    for wanted, pattern, operation in _routes():
        match = pattern.fullmatch(path)
        if match and wanted == method:
            params = _body_params(operation, body)
            params.update(_header_params(operation, headers or {}))
            params.update({name: unquote(text) for name, text in match.groupdict().items()})
            params.update(_query_params(operation, query))
            return operation, params
    return None


def _body_params(operation: str, body: bytes) -> dict[str, Any]:
    shape = operation_model(operation).input_shape
    payload = shape.serialization.get("payload") if shape is not None else None
    if payload:
        return {payload: body}
    try:
        params = strict_json.decode(body) if body.strip() else {}
    except (ValueError, RecursionError):
        raise rules.NOT_JSON.error(what="valid JSON") from None
    if not isinstance(params, dict):
        raise rules.NOT_JSON.error(what="a JSON object")
    return params


def _header_params(operation: str, headers: Mapping[str, str]) -> dict[str, Any]:
    shape = operation_model(operation).input_shape
    given = {name.lower(): value for name, value in headers.items()}
    members = shape.members if shape is not None else {}
    return {
        name: given[member.serialization["name"].lower()]
        for name, member in members.items()
        if member.serialization.get("location") == "header" and member.serialization["name"].lower() in given
    }


def _query_params(operation: str, query: str) -> dict[str, Any]:
    shape = operation_model(operation).input_shape
    given = parse_qs(query, keep_blank_values=True)
    params: dict[str, Any] = {}
    if shape is None:
        return params
    for name, member in shape.members.items():
        if member.serialization.get("location") == "querystring":
            values = given.get(member.serialization.get("name", name))
            if values:
                params[name] = _from_text(member, name, values[0])
    return params


def _from_text(shape: Shape, name: str, text: str) -> Any:
    try:
        if shape.type_name in ("integer", "long"):
            return int(text)
        if shape.type_name == "timestamp":
            parsed = dt.datetime.fromisoformat(text)
            return parsed if parsed.tzinfo else parsed.replace(tzinfo=dt.UTC)
    except ValueError:
        raise rules.QUERY_TYPE.error(value=text, name=name, type=shape.type_name) from None
    return text
