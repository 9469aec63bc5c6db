"""MiniStack with AUTH=true, the checks of AWS that it lacks, and a journal of every decision.

    python -P ministack_server.py         # settings in the environment, as of MiniStack itself

Runs in MiniStack's own environment (requirements/ministack.txt, whose version this file is written for) and
needs nothing else of the checkout. Every decision is MiniStack's evaluator's, on the policies that the role
has at that moment. MiniStack 1.5.33 holds each API request against the caller's policies; not what services
do on behalf of a role, which is added here:

- Lambda writes logs and dead letters as the function's role (Lambda Developer Guide, "Execution role").
- S3 uses a bucket's KMS key as the caller: GenerateDataKey for a write, Decrypt for a read and for the parts
  of an upload; SQS needs both of who sends to an encrypted queue (their guides on SSE-KMS).
- S3 answers 403, not 404, for a missing object to a caller who may not list the bucket (GetObject).
- S3 and EventBridge invoke a function only where its resource policy lets them.
- SNS uses a topic's KMS key as who publishes: GenerateDataKey and Decrypt (guide, "Key management").
- Lambda reads the stream of a table as the function's role (its guide, "Using Lambda with DynamoDB").
- A function runs with the time-out that it has by then, also for an event from before an update.

The control is under /_local_aws/: busy, journal, evaluate, authorize, session, service, faults.
"""

from __future__ import annotations

import contextvars
import dataclasses
import hashlib
import itertools
import json
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ministack import app as ministack
from ministack.core import iam_actions, iam_evaluator, lambda_runtime
from ministack.core.responses import get_account_id, get_region
from ministack.services import eventbridge, lambda_svc, s3, sns, sqs, sts

CONTROL = "/_local_aws/"
FORWARDED = b"x-forwarded-proto"
_KMS_KEY = re.compile(r"<KMSMasterKeyID>\s*(.*?)\s*</KMSMasterKeyID>")
_RANGE = re.compile(r"bytes=(\d+)-(\d+)")
_OF_WHOLE = re.compile("^content-length$|checksum")
_OK, _PARTIAL, _FORBIDDEN, _NOT_FOUND = 200, 206, 403, 404

Headers = Mapping[str, str]
#: An action, a resource, and condition keys.
Check = tuple[str, str, dict[str, str]]
Answer = tuple[int, dict[str, str], Any]


class Journal:
    """What was decided for roles and services, each kind of request once, with the last time it came."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        self._entries: dict[str, dict[str, Any]] = {}

    def add(self, decision: str, ctx: iam_evaluator.EvalContext) -> None:
        """Note a decision: "Allow", "Deny" or "ImplicitDeny"."""
        request = dataclasses.asdict(ctx)
        key = json.dumps([decision, request], sort_keys=True, default=str)
        with self._lock:
            # A decision that is made again moves to the end: the entries are in the order of their numbers.
            self._entries.pop(key, None)
            number = next(self._numbers)
            self._entries[key] = {"decision": decision, "request": request, "number": number}

    def entries(self, since: int = 0) -> list[dict[str, Any]]:
        """The decisions after number ``since``, the oldest first."""
        with self._lock:
            newest = reversed(self._entries.values())
            found = [dict(each) for each in itertools.takewhile(lambda each: each["number"] > since, newest)]
        return found[::-1]


journal = Journal()
_by: contextvars.ContextVar[str] = contextvars.ContextVar("by", default="identity")
_evaluate = iam_evaluator.evaluate
_evaluate_resource_policy = iam_evaluator.evaluate_resource_policy
_enforce = iam_evaluator.enforce


@contextmanager
def _policy_of(kind: str) -> Iterator[None]:
    token = _by.set(kind)
    try:
        yield
    finally:
        _by.reset(token)


def evaluate(ctx: iam_evaluator.EvalContext, policies: Any, *limits: Any) -> iam_evaluator.EvalResult:
    """MiniStack's evaluation, noted where it is about a role or a service."""
    result = _evaluate(ctx, policies, *limits)
    wanted = {"identity": "AssumedRole", "resource": "Service"}[_by.get()]
    if ctx.principal_type == wanted:
        journal.add(result.decision, ctx)
    return result


def evaluate_resource_policy(*arguments: Any, **named: Any) -> iam_evaluator.EvalResult:
    """MiniStack's evaluation of a resource's own policy, noted as such."""
    with _policy_of("resource"):
        return _evaluate_resource_policy(*arguments, **named)


# ------------------------------------------------------------------------------- decisions of our own


def refusal(key: str, checks: list[Check], region: str = "") -> iam_evaluator.EvalResult | None:
    """The first refusal among ``checks`` (action, resource, context) for the session with that access key."""
    principal = iam_evaluator.resolve_principal(key, get_account_id())
    if isinstance(principal, iam_evaluator.AuthError):
        return iam_evaluator.EvalResult("Deny", reason=principal.message)
    for action, resource, context in checks:
        ctx = iam_evaluator.EvalContext(
            principal_arn=principal.arn,
            principal_type=principal.type,
            principal_account=principal.account,
            action=action,
            resource_arn=resource,
            region=region or get_region(),
            secure_transport=True,
            service_context={name.lower(): value for name, value in context.items()},
            principal_keys=principal.keys,
        )
        if principal.policies is None:
            continue
        result = iam_evaluator.evaluate(ctx, principal.policies, *principal.limits)
        if result.decision != "Allow":
            result.principal_arn = principal.arn
            result.reason = (
                f"User: {principal.arn} is not authorized to perform: {action} on resource: {resource}"
            )
            return result
    return None


def service_may(service: str, action: str, resource: str, policy: Any, source: str) -> bool:
    """Whether a resource's policy lets a service call it for ``source``, an ARN of this account."""
    ctx = iam_evaluator.EvalContext(
        principal_arn=service,
        principal_type="Service",
        principal_account="",
        action=action,
        resource_arn=resource,
        region=get_region(),
        secure_transport=True,
        service_context={"aws:sourcearn": source, "aws:sourceaccount": get_account_id()},
    )
    return iam_evaluator.evaluate_resource_policy(policy, ctx, service=service).decision == "Allow"


def session(role_arn: str, name: str) -> dict[str, str]:
    """Credentials of a role for an AWS service, as the service gets them by the role's trust policy."""
    role = role_arn.rpartition("/")[2]
    digest = hashlib.sha256(f"{name}:{role_arn}".encode()).hexdigest()
    key = f"ASIA{digest[:16].upper()}"
    made = {"access_key": key, "secret_key": digest[16:48], "session_token": digest[48:]}
    sts.register_session(
        key,
        {
            "Arn": f"arn:aws:sts::{get_account_id()}:assumed-role/{role}/{name}",
            "UserId": f"{role}:{name}",
            "SecretAccessKey": made["secret_key"],
            "SessionToken": made["session_token"],
        },
    )
    return made


# -------------------------------------------------------------------------------------- S3 and its keys


def via(service: str) -> dict[str, str]:
    """What KMS knows of a request that an AWS service makes in the name of a role."""
    return {"kms:viaservice": f"{service}.{get_region()}.amazonaws.com"}


def key_of(bucket_arn: str) -> str:
    """The KMS key that a bucket encrypts with by default, or ""."""
    bucket = bucket_arn.removeprefix("arn:aws:s3:::").partition("/")[0]
    found = _KMS_KEY.search(s3._bucket_encryption.get(bucket) or "")
    return found[1] if found else ""


def enforce(
    access_key_id: str,
    iam_action: str,
    service: str,
    region: str,
    resource_arn: str = "*",
    service_context: dict[str, Any] | None = None,
) -> Any:
    """MiniStack's check of a request, and for S3 and SNS that of the bucket's or the topic's key."""
    denied = _enforce(access_key_id, iam_action, service, region, resource_arn, service_context)
    if denied is None and iam_action == "sns:Publish":
        kms = sns._topics.get(resource_arn, {}).get("attributes", {}).get("KmsMasterKeyId")
        checks: list[Check] = [(each, kms, via("sns")) for each in ("kms:GenerateDataKey", "kms:Decrypt")]
        return refusal(access_key_id, checks, region) if kms else None
    if denied is not None or service != "s3":
        return denied
    signed = iam_evaluator._signed_request.get()
    method, query = (signed.method, signed.query_params) if signed else ("", {})
    actions = []
    if iam_action == "s3:PutObject":
        in_parts = "uploadId" in query or "uploads" in query
        actions = ["kms:GenerateDataKey", *(["kms:Decrypt"] if in_parts else [])]
    elif iam_action in ("s3:GetObject", "s3:GetObjectVersion") and method != "HEAD":
        actions = ["kms:Decrypt"]
    key = key_of(resource_arn) if actions else ""
    return refusal(access_key_id, [(each, key, via("s3")) for each in actions], region) if key else None


_extract_resource_arn = iam_actions.extract_resource_arn


def extract_resource_arn(
    service: str, method: str, path: str, headers: Headers, body: bytes, *arguments: Any
) -> str:
    """What a request is about, as MiniStack sees it, but for rules of EventBridge.

    The ARN of a rule on the default bus has no name of a bus, and ListTargetsByRule is about a rule too (AWS
    service authorization reference, Amazon EventBridge). MiniStack 1.5.33 has it otherwise.
    """
    found: str = _extract_resource_arn(service, method, path, headers, body, *arguments)
    if service != "events":
        return found
    if found == "*" and b'"Rule"' in body:
        about = json.dumps({"Name": json.loads(body)["Rule"]}).encode()
        found = _extract_resource_arn(service, method, path, headers, about, *arguments)
    return found.replace(":rule/default/", ":rule/")


_dispatch = ministack._dispatch_service_request


async def dispatch(
    method: str, path: str, headers: Headers, body: bytes, query: Mapping[str, Any], request_id: str
) -> Answer:
    """MiniStack's answer, or a fault that was asked for; a missing object is denied to who may not list.

    MiniStack 1.5.33 gives a whole version where a range of it is asked for: the range is cut out here.
    """
    if fault := faults.take(method, path, query):
        return _error(fault["status"], fault["code"])
    answer: Answer = await _dispatch(method, path, headers, body, query, request_id)
    if answer[0] == _OK and method == "GET" and "versionId" in query and "range" in headers:
        answer = _ranged(answer, headers["range"])
    key = ministack.extract_access_key_id(headers, query)
    of_s3 = "/s3/aws4_request" in headers.get("authorization", "")
    if answer[0] != _NOT_FOUND or not of_s3 or not key or "/" not in path.strip("/"):
        return answer
    bucket = path.strip("/").partition("/")[0]
    if method != "HEAD" and b"<Code>NoSuchKey<" not in answer[2] and b"<Code>NoSuchVersion<" not in answer[2]:
        return answer
    denied = refusal(key, [("s3:ListBucket", f"arn:aws:s3:::{bucket}", {})])
    return _error(_FORBIDDEN, "AccessDenied") if denied else answer


def _ranged(answer: Answer, wanted: str) -> Answer:
    found = _RANGE.fullmatch(wanted)
    if not found or not isinstance(answer[2], bytes):
        return answer
    first, last = int(found[1]), min(int(found[2]), len(answer[2]) - 1)
    part = answer[2][first : last + 1]
    shown = {
        name: value for name, value in answer[1].items() if not name.lower().startswith("content-length")
    }
    shown |= {"Content-Range": f"bytes {first}-{last}/{len(answer[2])}", "Content-Length": str(len(part))}
    return _PARTIAL, {name: value for name, value in shown.items() if "checksum" not in name.lower()}, part


def _error(status: int, code: str) -> Answer:
    body = (
        f'<?xml version="1.0" encoding="UTF-8"?>\n<Error><Code>{code}</Code><Message>{code}</Message></Error>'
    )
    return status, {"Content-Type": "application/xml"}, body.encode()


class Faults:
    """S3 requests that are to fail: by method and by a word of the query, so many times."""

    def __init__(self) -> None:
        self._rules: list[dict[str, Any]] = []

    def set(self, rules: list[dict[str, Any]]) -> None:
        """Put these rules in the place of the old ones."""
        self._rules = rules

    def take(self, method: str, path: str, query: Mapping[str, Any]) -> dict[str, Any] | None:
        """The fault that strikes this request, if any."""
        for rule in self._rules:
            if rule["times"] and rule["method"] == method and rule["query"] in query and rule["path"] in path:
                rule["times"] -= 1
                return rule
        return None


faults = Faults()

# ------------------------------------------------------------------------- Lambda, its logs and letters

_emit_lambda_logs = lambda_svc._emit_lambda_logs
_route_async_failure = lambda_svc._route_async_failure


def emit_lambda_logs(func: dict[str, Any], request_id: str, *arguments: Any, **named: Any) -> None:
    """Writes a run's log where the function's role may."""
    config = func.get("config") or func
    group = (config.get("LoggingConfig") or {}).get("LogGroup") or f"/aws/lambda/{config['FunctionName']}"
    stream = f"arn:aws:logs:{get_region()}:{get_account_id()}:log-group:{group}:log-stream:{request_id}"
    checks: list[Check] = [("logs:CreateLogStream", stream, {}), ("logs:PutLogEvents", stream, {})]
    key = lambda_runtime.execution_credentials(config)["AWS_ACCESS_KEY_ID"]
    if refusal(key, checks) is None:
        _emit_lambda_logs(func, request_id, *arguments, **named)


def route_async_failure(target_arn: str, func_name: str, event: Any, result: Any) -> None:
    """Sends a dead letter where the function's role may, also with the queue's key."""
    config = lambda_svc._functions[func_name]["config"]
    checks: list[Check] = [("sqs:SendMessage", target_arn, {})]
    queue = sqs._queue_by_arn(target_arn) or {}
    if kms := (queue.get("attributes") or {}).get("KmsMasterKeyId"):
        checks += [(each, kms, via("sqs")) for each in ("kms:GenerateDataKey", "kms:Decrypt")]
    key = lambda_runtime.execution_credentials(config)["AWS_ACCESS_KEY_ID"]
    if refusal(key, checks) is None:
        _route_async_failure(target_arn, func_name, event, result)


_iter_all_esms = lambda_svc._iter_all_esms
_READ_STREAM = ("DescribeStream", "GetRecords", "GetShardIterator", "ListStreams")


def iter_all_esms() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """The event source mappings whose function's role may read the stream."""
    for account, region, mapping in _iter_all_esms():
        tokens = lambda_svc._request_account_id.set(account), lambda_svc._request_region.set(region)
        try:
            func, config = lambda_svc._get_func_record_for_qualifier(mapping["FunctionName"], None)
            arn = mapping.get("EventSourceArn", "")
            key = lambda_runtime.execution_credentials(config)["AWS_ACCESS_KEY_ID"] if func else ""
            checks: list[Check] = [(f"dynamodb:{each}", arn, {}) for each in _READ_STREAM]
            may = bool(func) and (":dynamodb:" not in arn or refusal(key, checks) is None)
        finally:
            lambda_svc._request_account_id.reset(tokens[0])
            lambda_svc._request_region.reset(tokens[1])
        if may:
            yield account, region, mapping


_acquire_worker = lambda_svc.acquire_worker


def acquire_worker(name: str, config: Mapping[str, Any], *arguments: Any, **named: Any) -> Any:
    """Lends an environment that has the function's time-out of this moment.

    MiniStack 1.5.33 tries an event again with the configuration of when it came. An environment that is made
    for it would keep an old time-out for all events after it.
    """
    timeout = lambda_svc._functions[name]["config"]["Timeout"]
    return _acquire_worker(name, {**config, "Timeout": timeout}, *arguments, **named)


_deliver_event_to_lambda = s3._deliver_event_to_lambda
_invoke_target = eventbridge._invoke_target


def deliver_event_to_lambda(arn: str, payload: dict[str, Any], region: str) -> None:
    """Lets S3 invoke a function whose policy lets it."""
    bucket = payload["Records"][0]["s3"]["bucket"]["name"]
    func, *_ = lambda_svc._get_func_record_for_ref(arn)
    policy = (func or {}).get("policy")
    if service_may("s3.amazonaws.com", "lambda:InvokeFunction", arn, policy, f"arn:aws:s3:::{bucket}"):
        _deliver_event_to_lambda(arn, payload, region)


def invoke_target(target: dict[str, Any], event: Any, rule: dict[str, Any], view: Any = None) -> None:
    """Lets EventBridge invoke a function whose policy lets it."""
    arn = target.get("Arn", "")
    if ":lambda:" in arn:
        func, *_ = lambda_svc._get_func_record_for_ref(arn)
        policy = (func or {}).get("policy")
        if not service_may("events.amazonaws.com", "lambda:InvokeFunction", arn, policy, rule["Arn"]):
            return
    _invoke_target(target, event, rule, view)


# --------------------------------------------------------------------------------------------- control


def _journal(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"entries": journal.entries(body.get("since", 0))}


def _judge(body: Mapping[str, Any]) -> dict[str, Any]:
    """What the evaluator says to requests under other policies; nothing is noted."""
    policies = [iam_evaluator.parse_policy_document(each) for each in body["policies"]]
    contexts = [iam_evaluator.EvalContext(**each) for each in body["requests"]]
    return {"decisions": [_evaluate(each, policies).decision for each in contexts]}


def _authorize(body: Mapping[str, Any]) -> dict[str, Any]:
    key, token = body["access_key"], body["session_token"] or None
    found = iam_evaluator.resolve_credential(key, get_account_id(), token)
    if isinstance(found, iam_evaluator.CredentialResolutionError):
        return {"denied": found.message}
    denied = refusal(key, body["checks"])
    return {"denied": denied.reason if denied else ""}


def _session(body: Mapping[str, Any]) -> dict[str, Any]:
    return session(body["role_arn"], body["name"])


def _faults(body: Mapping[str, Any]) -> dict[str, Any]:
    faults.set(body["rules"])
    return {}


def _service(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"allowed": service_may(**body)}


def _busy(_: Mapping[str, Any]) -> dict[str, Any]:
    return {"runs": lambda_runtime.workers_in_use()}


_CONTROLS: dict[str, Callable[[Mapping[str, Any]], dict[str, Any]]] = {
    "busy": _busy,
    "journal": _journal,
    "evaluate": _judge,
    "authorize": _authorize,
    "session": _session,
    "faults": _faults,
    "service": _service,
}
_app = ministack.app


async def app(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """MiniStack's application with the control in front of it."""
    if scope["type"] != "http":
        await _app(scope, receive, send)
        return
    if not scope["path"].startswith(CONTROL):
        # On 127.0.0.1 there is no TLS: a request counts as one that came by it, unless it says otherwise.
        if not any(name.lower() == FORWARDED for name, _ in scope["headers"]):
            scope = {**scope, "headers": [*scope["headers"], (FORWARDED, b"https")]}
        await _app(scope, receive, send)
        return
    body, more = b"", True
    while more:
        message = await receive()
        body, more = body + message.get("body", b""), message.get("more_body", False)
    control = _CONTROLS.get(scope["path"].removeprefix(CONTROL))
    status, answer = (_OK, control(json.loads(body or b"{}"))) if control else (_NOT_FOUND, {})
    headers = [(b"content-type", b"application/json")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": json.dumps(answer, default=str).encode()})


def main() -> None:
    """Put the checks in place and serve."""
    iam_evaluator.evaluate = evaluate
    iam_evaluator.evaluate_resource_policy = evaluate_resource_policy
    iam_evaluator.enforce = enforce
    iam_actions.extract_resource_arn = extract_resource_arn
    ministack._dispatch_service_request = dispatch
    lambda_svc._emit_lambda_logs = emit_lambda_logs
    lambda_svc._route_async_failure = route_async_failure
    lambda_svc.acquire_worker = acquire_worker
    lambda_svc._iter_all_esms = iter_all_esms
    s3._deliver_event_to_lambda = deliver_event_to_lambda
    eventbridge._invoke_target = invoke_target
    ministack.app = app
    ministack.main()


if __name__ == "__main__":
    main()
