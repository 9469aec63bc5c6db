"""Each constraint of botocore's model on the requests: refused when broken, taken at its border.

The constraints are read from the model. Only values that are right are written down here.
"""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from bedrock_batch_simulator.validation import JOB_OPERATIONS, operation_model
from bedrock_batch_simulator.wire import Response, respond
from botocore.model import ListShape, Shape, StructureShape

from .world import ACCOUNT, BUCKET, CLAUDE, REGION, World

#: A value by the name of the member, where the model alone does not give one.
GOOD: dict[str, Any] = {
    "byProvider": "Amazon",
    "clientRequestToken": "token-1",
    "inferenceProfileIdentifier": f"us.{CLAUDE}",
    "jobIdentifier": f"arn:aws:bedrock:{REGION}:{ACCOUNT}:model-invocation-job/abcdefghijkl",
    "jobName": "job-1",
    "key": "team",
    "modelIdentifier": CLAUDE,
    "modelId": f"arn:aws:bedrock:{REGION}:{ACCOUNT}:inference-profile/us.{CLAUDE}",
    "nameContains": "job",
    "nextToken": "token",
    "resourceARN": f"arn:aws:bedrock:{REGION}:{ACCOUNT}:model-invocation-job/abcdefghijkl",
    "roleArn": f"arn:aws:iam::{ACCOUNT}:role/batch",
    "s3BucketOwner": ACCOUNT,
    "s3EncryptionKeyId": "alias/batch",
    "s3Uri": f"s3://{BUCKET}/folder/",
    "securityGroupIds": "sg-1",
    "subnetIds": "subnet-1",
    "submitTimeAfter": "2026-01-01T00:00:00Z",
    "submitTimeBefore": "2026-01-02T00:00:00Z",
    "tagKeys": "team",
    "value": "search",
}
ABSENT = object()
Path = tuple[str | int, ...]


@dataclass(frozen=True)
class Case:
    """A constraint, with a value that breaks it and one that just keeps it; ABSENT where there is none.

    `alone`: the wrong value breaks nothing else.
    """

    operation: str
    path: Path
    constraint: str
    wrong: Any
    border: Any = ABSENT
    alone: bool = True

    def __str__(self) -> str:
        return f"{self.operation}-{shown(self.path)}-{self.constraint}"


def shown(path: Path) -> str:
    """A path as the service writes it: `tags.1.member.key`."""
    return ".".join(str(each) if isinstance(each, str) else f"{each + 1}.member" for each in path)


def good(shape: Shape, name: str) -> Any:
    """A value that meets every constraint, with every member, one of a union."""
    if isinstance(shape, StructureShape):
        members = list(shape.members.items())[: 1 if shape.metadata.get("union") else None]
        return {key: good(member, key) for key, member in members}
    if isinstance(shape, ListShape):
        return [good(shape.member, name)]
    if "enum" in shape.metadata:
        return shape.metadata["enum"][0]
    if shape.type_name == "integer":
        return shape.metadata["min"]
    assert name in GOOD, f"the model has a new member: write down a good {name}"
    return GOOD[name]


def matches(shape: Shape, text: str) -> bool:
    """Whether a text has the shape's pattern."""
    # The pattern of names backtracks for ever on a text that it does not match.
    pattern = shape.metadata.get("pattern", ".*").replace(r"{0,63}", "*").replace(r"{0,256}", "*")
    return re.fullmatch(pattern.replace("(-*[a-zA-Z0-9", "([-a-zA-Z0-9"), text, re.DOTALL) is not None


def of_length(shape: Shape, sample: str, length: int) -> tuple[str, bool]:
    """A text of that length, and whether it has the shape's pattern, as it does if that can be had."""
    if length <= len(sample):
        tried = [sample[:length], sample[len(sample) - length :]]
    else:
        places = range(len(sample), -1, -1)
        tried = [sample[:at] + fill * (length - len(sample)) + sample[at:] for at in places for fill in "a-"]
    fitting = next((text for text in tried if matches(shape, text)), None)
    return (tried[0], False) if fitting is None else (fitting, True)


def many(shape: Shape, name: str, count: int) -> list[Any]:
    """As many values of the shape, each of its own."""
    sample = good(shape, name)
    if isinstance(sample, dict):
        return [{**sample, "key": f"{sample['key']}{number}"} for number in range(count)]
    return [f"{sample}{number}" for number in range(count)]


def cases(operation: str, shape: Shape, name: str, path: Path, *, text: bool = False) -> Iterator[Case]:
    """All constraints of a shape and of what is in it. `text`: it is sent as a text, for it is in no body."""
    if isinstance(shape, StructureShape):
        yield from _of_structure(operation, shape, path)
    elif isinstance(shape, ListShape):
        yield Case(operation, path, "type", {})
        for limit, wrong, border in _limits(shape, least=1):
            few, enough = many(shape.member, name, wrong), many(shape.member, name, border)
            yield Case(operation, path, limit, few, enough)
        yield from cases(operation, shape.member, name, (*path, 0))
    elif shape.type_name == "string":
        if not text:
            yield Case(operation, path, "type", 7)
        yield from _of_text(operation, shape, good(shape, name), path)
    else:
        yield Case(operation, path, "type", "text")
        yield from (Case(operation, path, *each) for each in _limits(shape))


def _of_structure(operation: str, shape: StructureShape, path: Path) -> Iterator[Case]:
    if path:
        yield Case(operation, path, "type", "text")
    if shape.metadata.get("union"):
        yield Case(operation, path, "union", {})
    for key, member in shape.members.items():
        where = member.serialization.get("location")
        # A path without its identifier is the path of nothing.
        if key in shape.required_members and where != "uri":
            yield Case(operation, (*path, key), "required", ABSENT)
            yield Case(operation, (*path, key), "null", None)
        yield from cases(operation, member, key, (*path, key), text=where is not None)


def _limits(shape: Shape, least: int | None = None) -> Iterator[tuple[str, int, int]]:
    """The limits, each with a number beyond and one on it. `least`: a minimum below is none."""
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is not None and (least is None or low >= least):
        yield "min", low - 1, low
    if high is not None:
        yield "max", high + 1, high


def _of_text(operation: str, shape: Shape, sample: str, path: Path) -> Iterator[Case]:
    for limit, beyond, on in _limits(shape, least=1):
        wrong, alone = of_length(shape, sample, beyond)
        border, fits = of_length(shape, sample, on)
        yield Case(operation, path, limit, wrong, border if fits else ABSENT, alone)
    if "pattern" in shape.metadata:
        broken = (sample[:at] + sign + sample[at + 1 :] for sign in "é !" for at in range(len(sample)))
        yield Case(
            operation, path, "pattern", next(each for each in broken if not matches(shape, each)), sample
        )
    for value in shape.metadata.get("enum", []):
        yield Case(operation, path, f"enum {value}", f"{value}x", value)


def input_shape(operation: str) -> StructureShape:
    """The shape of the operation's input."""
    shape = operation_model(operation).input_shape
    assert shape is not None
    return shape


CASES = [case for name in JOB_OPERATIONS for case in cases(name, input_shape(name), "", ())]


def request(operation: str, path: Path = (), value: Any = ABSENT) -> dict[str, Any]:
    """The parameters of a good request, with another value at the path, or none."""
    params: dict[str, Any] = copy.deepcopy(good(input_shape(operation), ""))
    if path:
        *before, last = path
        place: Any = params
        for each in before:
            place = place[each]
        if value is ABSENT:
            del place[last]
        else:
            place[last] = value
    return params


def send(world: World, operation: str, params: dict[str, Any]) -> Response:
    """Send parameters over HTTP just as they are: botocore would refuse some, and send others as a text."""
    model = operation_model(operation)
    target, query, body = model.http["requestUri"], {}, {}
    for name, value in params.items():
        where = input_shape(operation).members[name].serialization
        if where.get("location") == "uri":
            target = target.replace(f"{{{name}}}", quote(value, safe=""))
        elif where.get("location") == "querystring":
            query[where["name"]] = value
        else:
            body[name] = value
    method = model.http["method"]
    simulator = world.simulator({"models": {"*": {"min_records": 1}}, "check_role": False})
    return respond(simulator, method, f"{target}?{urlencode(query)}", json.dumps(body).encode())


def message(answer: Response) -> str:
    """What an answer says is wrong."""
    return str(json.loads(answer.body).get("message", ""))


def test_every_member_has_a_constraint() -> None:
    def members(shape: Shape, path: Path) -> Iterator[Path]:
        inner = {0: shape.member} if isinstance(shape, ListShape) else getattr(shape, "members", {})
        for key, each in inner.items():
            yield (*path, key)
            yield from members(each, (*path, key))

    for operation in JOB_OPERATIONS:
        found = {case.path for case in CASES if case.operation == operation}
        assert set(members(input_shape(operation), ())) == found


@pytest.mark.parametrize("operation", JOB_OPERATIONS)
def test_the_good_request_breaks_no_constraint(world: World, operation: str) -> None:
    answer = send(world, operation, request(operation))
    assert "failed to satisfy constraint" not in message(answer)


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_broken_constraint_is_refused_by_the_name_of_its_member(world: World, case: Case) -> None:
    answer = send(world, case.operation, request(case.operation, case.path, case.wrong))
    assert answer.status == 400
    assert answer.headers["x-amzn-ErrorType"].startswith("ValidationException:")
    assert f"at '{shown(case.path)}'" in message(answer)
    assert message(answer).startswith("1 validation error detected: ") or not case.alone


@pytest.mark.parametrize("case", [case for case in CASES if case.border is not ABSENT], ids=str)
def test_a_value_at_the_border_is_not_refused(world: World, case: Case) -> None:
    answer = send(world, case.operation, request(case.operation, case.path, case.border))
    assert f"at '{shown(case.path)}'" not in message(answer)
