"""The settings that Terraform passes to the functions in environment variables."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field
from typing import Any

from .records import dataclass


@dataclass(frozen=True, slots=True)
class Settings:
    """The environment variables of the functions, typed. Prefixes end with ``/``; an unset name is "".

    ``media_prefixes``: where the objects lie that an upload can reference. ``bucket_owner``: the account that
    owns the bucket, if it is another one than the queue's. ``row_retention_days``: how long the rows of what
    has ended are kept; None for ever. ``event_bus``: the ARN of the bus that gets the queue's events.
    ``notification_topic``: the ARN of the topic that gets messages for people, about uploads that ended with
    one of the statuses ``notify_on``. ``log_level``: the lowest level that is logged, by its name in
    ``logging``. ``memory_mb``: the memory of the function, which Lambda sets.
    """

    name: str
    table: str
    bucket: str
    input_prefix: str = "to-process/"
    output_prefix: str = "processed/"
    work_prefix: str = "jobs/"
    media_prefixes: tuple[str, ...] = ("to-process/",)
    bucket_owner: str = ""
    kms_key_arn: str = ""
    create_function: str = ""
    process_function: str = ""
    collect_function: str = ""
    operate_function: str = ""
    role_arn: str = ""
    row_retention_days: int | None = None
    job_vpc: Mapping[str, Any] = field(default_factory=dict)
    event_bus: str = ""
    notification_topic: str = ""
    notify_on: tuple[str, ...] = ()
    log_level: str = "INFO"
    memory_mb: int = 1024


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Reads the settings. Raises KeyError with the name of a missing variable."""
    return Settings(
        name=environment["NAME"],
        table=environment["TABLE"],
        bucket=environment["BUCKET"],
        input_prefix=environment["INPUT_PREFIX"],
        output_prefix=environment["OUTPUT_PREFIX"],
        work_prefix=environment["WORK_PREFIX"],
        media_prefixes=tuple(environment["MEDIA_PREFIXES"].split(",")),
        bucket_owner=environment.get("BUCKET_OWNER", ""),
        kms_key_arn=environment.get("KMS_KEY_ARN", ""),
        create_function=environment.get("CREATE_FUNCTION", ""),
        process_function=environment.get("PROCESS_FUNCTION", ""),
        collect_function=environment.get("COLLECT_FUNCTION", ""),
        operate_function=environment.get("OPERATE_FUNCTION", ""),
        role_arn=environment.get("ROLE_ARN", ""),
        row_retention_days=int(environment.get("ROW_RETENTION_DAYS") or 0) or None,
        job_vpc=json.loads(environment.get("JOB_VPC") or "{}"),
        event_bus=environment.get("EVENT_BUS_ARN", ""),
        notification_topic=environment.get("NOTIFICATION_TOPIC_ARN", ""),
        notify_on=tuple(filter(None, environment.get("NOTIFY_ON", "").split(","))),
        log_level=environment.get("LOG_LEVEL", "INFO"),
        memory_mb=int(environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE") or 1024),
    )
