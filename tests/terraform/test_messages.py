"""Given a wrong input, the plan fails, and the message says what is wrong and what to write instead.

`expect_failures` tells that a check failed, but not what it said: here the reports of `terraform test` are
read. The cases share as few runs as can be.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from tools import checks

pytestmark = pytest.mark.terraform

MODEL = {"model_id": "amazon.nova-lite-v1:0"}
ROUTE_ROW = 'resource "aws_dynamodb_table_item" "route"'
PLACES_BLOCK = 'resource "terraform_data" "places"'
CUSTOM_MODEL = "arn:aws:bedrock:us-east-1:123456789012:custom-model/amazon.nova-lite-v1:0:300k/abc123def456"
PROVISIONED = "arn:aws:bedrock:us-east-1:123456789012:provisioned-model/abc123def456"
PREFIXES = ("input_prefix", "output_prefix", "work_prefix", "media_prefixes")
#: By input: what it is held against. Where that is wrong, nothing is said of the input.
HELD_AGAINST: dict[str, tuple[str, ...]] = {
    **dict.fromkeys(PREFIXES, PREFIXES),
    "media_prefixes": ("output_prefix", "work_prefix"),
    "uploads_retention_days": ("bucket_name",),
    "results_retention_days": ("bucket_name",),
    "bucket_policy_documents": ("bucket_name",),
    "row_retention_days": ("uploads_retention_days", "results_retention_days", "bucket_name"),
    "bucket_owner": ("bucket_name", "create_bucket"),
    "eventbridge_notifications": ("manage_bucket_notification", "bucket_name", "create_bucket"),
}
SUBNETS, GROUPS = ["subnet-0123456789abcdef0"], ["sg-0123456789abcdef0"]

#: By case: the inputs, and words of the message. The message is that of the first input.
INPUTS: dict[str, tuple[dict[str, Any], str]] = {
    "name too long": (
        {"name": "br-batch-inference-of-the-analytics-team"},
        '"br-batch-inference-of-the-analytics-team" (40 characters): write 3 to 30',
    ),
    "name too short": ({"name": "br"}, '"br" (2 characters): write 3 to 30'),
    "name with upper case": ({"name": "Batch"}, "lowercase"),
    "name with a double hyphen": ({"name": "batch--queue"}, "single hyphens"),
    "name with a hyphen at the end": ({"name": "batch-"}, "hyphens between them"),
    "name with an underscore": ({"name": "batch_queue"}, "letters, digits and single hyphens"),
    "sweep by a word": ({"sweep_schedule_expression": "daily"}, '"daily": write rate(15 minutes)'),
    "sweep with a plural unit": ({"sweep_schedule_expression": "rate(1 days)"}, "singular after 1"),
    "sweep with five fields": ({"sweep_schedule_expression": "cron(0 3 * * *)"}, "six fields"),
    "sweep by an empty schedule": ({"sweep_schedule_expression": ""}, '"": write rate(15 minutes)'),
    "schedule without rate": ({"schedule_expression": "15 minutes"}, '"15 minutes": write rate(15 minutes)'),
    "schedule with a singular unit": ({"schedule_expression": "rate(15 minute)"}, "singular after 1 only"),
    "schedule with a plural unit": ({"schedule_expression": "rate(1 minutes)"}, "singular after 1"),
    "schedule in seconds": ({"schedule_expression": "rate(30 seconds)"}, "write rate(15 minutes)"),
    "schedule with five fields": ({"schedule_expression": "cron(0/15 * * * *)"}, "six fields"),
    "schedule with both days": ({"schedule_expression": "cron(0 12 * * * *)"}, "with a ? for either"),
    "model of unknown form": (
        {"model_id": "claude"},
        '"claude", which is not a model: write a model ID such as',
    ),
    "model with three dots": ({"model_id": "us.zai.glm-4.7"}, "An ID has one or two dots"),
    "model with a dot at the end": ({"model_id": "amazon.nova-lite."}, "which is not a model"),
    "model with provisioned throughput": ({"model_id": PROVISIONED}, "write the ID of the model itself"),
    "model of another service": (
        {"model_id": "arn:aws:sagemaker:us-east-1:123456789012:endpoint/my-model"},
        "or an ARN arn:aws:bedrock:",
    ),
    "routes as a list": (
        {"routes": [MODEL]},
        "routes must be a map of routes by name: write { my-folder = {",
    ),
    "route by its model": (
        {"routes": {"labels": "amazon.nova-lite-v1:0"}},
        '{ model_id = "amazon.nova-lite-v1:0" } }',
    ),
    "route of null": ({"routes": {"labels": None}}, "routes must be a map of routes by name"),
    "route with a path as its name": ({"routes": {"a/b": MODEL}}, '["a/b"]'),
    "route with dots as its name": ({"routes": {"..": MODEL}}, 'neither "." nor ".."'),
    "route with an empty name": ({"routes": {"": MODEL}}, "1 to 64 letters"),
    "no job at once": ({"max_active_jobs": 0}, "max_active_jobs is 0: write a whole number of 1 or more"),
    "half a job at once": ({"max_active_jobs": 2.5}, "max_active_jobs is 2.5"),
    "tag that Bedrock refuses": ({"tags": {"Team": "R&D"}}, "letters, digits, spaces and . _ : / = + @ -"),
    "tag with a reserved key": ({"tags": {"aws:team": "a"}}, "must not begin with aws:"),
    "too many tags": (
        {"tags": {f"tag-{number}": "a" for number in range(50)}},
        "tags has 50 tags: write 49 or fewer",
    ),
    "bucket with two dots": ({"bucket_name": "my..bucket"}, "two dots in a row"),
    "bucket by an IP address": ({"bucket_name": "192.168.5.4"}, "an IP address"),
    "bucket with a prefix of AWS": ({"bucket_name": "xn--my-bucket"}, "begin with xn--"),
    "bucket with a suffix of AWS": ({"bucket_name": "my-bucket-s3alias"}, "end with -s3alias"),
    "bucket by its URI": ({"bucket_name": "s3://my-bucket"}, 'write "my-bucket", not an ARN, a URI'),
    "bucket with upper case": ({"bucket_name": "My-Bucket"}, "not an ARN, a URI or a path"),
    "owner by its name": (
        {"bucket_owner": "team-a", "create_bucket": False, "bucket_name": "team-files"},
        'bucket_owner is "team-a": write the 12 digits of an account ID',
    ),
    "owner of the module's own bucket": (
        {"bucket_owner": "210987654321"},
        "write create_bucket = false and bucket_name, or leave bucket_owner out",
    ),
    "input prefix without a slash": ({"input_prefix": "to-process"}, "with a slash at the end"),
    "input prefix with a slash at the start": ({"input_prefix": "/to-process/"}, "none at the start"),
    "empty input prefix": ({"input_prefix": ""}, '"": write folders'),
    "input prefix with a wildcard": ({"input_prefix": "to-*/"}, "letters, digits and _ . -"),
    "output prefix without a slash": ({"output_prefix": "processed"}, '"processed": write folders'),
    "work prefix without a slash": ({"work_prefix": "work"}, 'work_prefix is "work": write folders'),
    "equal prefixes": (
        {"work_prefix": "jobs/", "output_prefix": "files/", "input_prefix": "files/"},
        'output_prefix is "files/" and work_prefix is "jobs/": write three separate folders',
    ),
    "output within input": (
        {"work_prefix": "jobs/", "output_prefix": "to-process/done/"},
        'output_prefix is "to-process/done/"',
    ),
    "input within output": (
        {"work_prefix": "jobs/", "input_prefix": "processed/new/"},
        'input_prefix is "processed/new/", output_prefix is "processed/"',
    ),
    "input within the work area": (
        {"work_prefix": "work/", "input_prefix": "work/in/"},
        'work_prefix is "work/": write three separate folders',
    ),
    "output in the work area": (
        {"work_prefix": "work/", "output_prefix": "work/"},
        "None may be or contain another",
    ),
    "work area within input": ({"work_prefix": "to-process/work/"}, 'work_prefix is "to-process/work/"'),
    "media prefix without a slash": (
        {"media_prefixes": ["pictures/", "films"]},
        'media_prefixes is ["pictures/","films"]: write one or more folders',
    ),
    "no media prefix": ({"media_prefixes": []}, "media_prefixes is []: write one or more folders"),
    "media prefix of null": ({"media_prefixes": [None]}, "media_prefixes is [null]"),
    "media prefix of the whole bucket": ({"media_prefixes": [""]}, "with a slash at the end"),
    "media prefix with a wildcard": ({"media_prefixes": ["pictures*/"]}, "letters, digits and _ . -"),
    "media in the work area": (
        {"media_prefixes": ["work/1/"], "work_prefix": "work/"},
        'media_prefixes is ["work/1/"]',
    ),
    "media in the results": ({"media_prefixes": ["processed/hr/"]}, "within output_prefix or work_prefix"),
    "media around the results": ({"media_prefixes": ["a/"], "output_prefix": "a/out/"}, "be, contain or be"),
    "work area deleted at once": ({"work_retention_days": 0}, "work_retention_days is 0: write"),
    "uploads gone before a job ends": (
        {"uploads_retention_days": 7},
        "uploads_retention_days is 7: write a whole number of 8 or more",
    ),
    "half a day of uploads": ({"uploads_retention_days": 8.5}, "uploads_retention_days is 8.5: write"),
    "results gone at once": (
        {"results_retention_days": 0},
        "results_retention_days is 0: write a whole number of 1 or more",
    ),
    "half a day of results": ({"results_retention_days": 1.5}, "results_retention_days is 1.5: write"),
    "rows gone at once": ({"row_retention_days": 0}, "row_retention_days is 0: write a whole number of 1"),
    "half a day of rows": ({"row_retention_days": 1.5}, "row_retention_days is 1.5: write"),
    "neither row nor summary of uploads that stay": (
        {"row_retention_days": 30, "results_retention_days": 90},
        "results_retention_days is 90: set uploads_retention_days to fewer days than that",
    ),
    "neither row nor summary of uploads that stay as long": (
        {"row_retention_days": 30, "results_retention_days": 90, "uploads_retention_days": 90},
        "you pay for it again",
    ),
    "bucket policy by its name": (
        {"bucket_policy_documents": ["my-policy"]},
        "write [data.aws_iam_policy_document.my_bucket.json]",
    ),
    "bucket policy without statements": (
        {"bucket_policy_documents": ["{}"]},
        "JSON policy documents with a Statement",
    ),
    "bucket policy of null": ({"bucket_policy_documents": [None]}, "JSON policy documents with a Statement"),
    "bucket policy with the module's own Sid": (
        {"bucket_policy_documents": [json.dumps({"Statement": {"Sid": "DenyWithoutTls"}})]},
        "give it another Sid",
    ),
    "role by its name": (
        {"role_arn": "my-bedrock-role", "create_role": False},
        "arn:aws:iam::123456789012:role/my-bedrock-role",
    ),
    "role of a user": (
        {"role_arn": "arn:aws:iam::123456789012:user/me", "create_role": False},
        "not the ARN of a role",
    ),
    "role beside one that is created": (
        {"role_arn": "arn:aws:iam::123456789012:role/mine", "create_role": True},
        "create_role is true: write create_role = false to use that role",
    ),
    "no role": ({"role_arn": None, "create_role": False}, "create_role = false needs the ARN of the role"),
    "boundary by its name": ({"permissions_boundary": "my-boundary"}, ":policy/my-boundary"),
    "role path without a slash": ({"role_path": "team"}, 'role_path is "team": write "/" or'),
    "key by its alias": ({"kms_key_arn": "alias/my-key"}, '"alias/my-key": write the ARN of a key'),
    "key by its id": ({"kms_key_arn": "1234abcd-12ab-34cd-56ef-1234567890ab"}, "not its ID or an alias"),
    "VPC without subnets": ({"vpc": {"subnet_ids": [], "security_group_ids": GROUPS}}, "1 to 16 subnet_ids"),
    "VPC without security groups": (
        {"vpc": {"subnet_ids": SUBNETS, "security_group_ids": []}},
        "1 to 5 security_group_ids",
    ),
    "VPC with the ids mixed up": (
        {"vpc": {"subnet_ids": GROUPS, "security_group_ids": GROUPS}},
        '"subnet_ids":["sg-0123456789abcdef0"]',
    ),
    "VPC of null": ({"vpc": {"subnet_ids": None, "security_group_ids": GROUPS}}, '"subnet_ids":null'),
    "job VPC with 17 subnets": (
        {"job_vpc": {"subnet_ids": [f"subnet-{i}" for i in range(17)], "security_group_ids": GROUPS}},
        "1 to 16 subnet_ids",
    ),
    "job VPC with 6 security groups": (
        {"job_vpc": {"subnet_ids": SUBNETS, "security_group_ids": [f"sg-{i}" for i in range(6)]}},
        "1 to 5 security_group_ids",
    ),
    "job VPC without subnets": (
        {"job_vpc": {"subnet_ids": [], "security_group_ids": GROUPS}},
        '"subnet_ids":[]',
    ),
    "runtime of another language": (
        {"lambda_runtime": "nodejs22.x"},
        '"nodejs22.x": write python3.11 or newer',
    ),
    "runtime too old": ({"lambda_runtime": "python3.9"}, "write python3.11 or newer"),
    "architecture by another name": (
        {"lambda_architecture": "amd64"},
        'lambda_architecture is "amd64": write "arm64" or "x86_64"',
    ),
    "memory too small": ({"lambda_memory_size": 128}, "lambda_memory_size is 128: write"),
    "memory too large": ({"lambda_memory_size": 20480}, "from 256 to 10240"),
    "concurrency of an unknown function": (
        {"lambda_reserved_concurrency": {"create_batch_queues": 5}},
        'lambda_reserved_concurrency is {"create_batch_queues":5}: write whole numbers by function',
    ),
    "a function that never runs": (
        {"lambda_reserved_concurrency": {"create_batch_queue": 0}},
        "With 0, Lambda would send every event to the dead-letter queue",
    ),
    "a processor that nobody can wake": (
        {"lambda_reserved_concurrency": {"process_batch_jobs": 1}},
        "2 or more for process_batch_jobs",
    ),
    "events of a bucket that is not ours to configure": (
        {"eventbridge_notifications": True, "manage_bucket_notification": False},
        "write eventbridge = true in the aws_s3_bucket_notification that does",
    ),
    "half a function": ({"lambda_reserved_concurrency": {"collect_results": 1.5}}, '{"collect_results":1.5}'),
    "environment of the module": ({"lambda_environment": {"TABLE": "another"}}, "sets NAME, TABLE, BUCKET"),
    "environment of Lambda": (
        {"lambda_environment": {"AWS_REGION": "eu-west-1", "TEAM": "a"}},
        "lambda_environment has AWS_REGION, which Lambda itself sets: leave it out",
    ),
    "environment with a hyphen": ({"lambda_environment": {"MY-KEY": "a"}}, "letters, digits and _"),
    "layer without a version": (
        {"lambda_layers": ["arn:aws:lambda:us-east-1:123456789012:layer:boto3"]},
        "layer:boto3:1",
    ),
    "six layers": (
        {"lambda_layers": [f"arn:aws:lambda:us-east-1:123456789012:layer:l{i}:1" for i in range(6)]},
        "up to 5 ARNs",
    ),
    "log retention that is not offered": ({"log_retention_days": 100}, "is 100: write 1, 3, 5, 7"),
    "log level that nothing has": ({"log_level": "DEBUG"}, 'log_level is "DEBUG": write "INFO", "WARN'),
    "log level in lower case": ({"log_level": "info"}, 'log_level is "info": write "INFO"'),
    "alarm action by its name": (
        {"alarm_actions": ["my-topic"]},
        "arn:aws:sns:us-east-1:123456789012:my-topic",
    ),
    "end of an alarm by its name": ({"ok_actions": ["my-topic"]}, "[] for none, or leave it out"),
    "bus by its name": (
        {"event_bus_arn": "my-bus"},
        'event_bus_arn is "my-bus": write the ARN of an event bus, such as',
    ),
    "bus by the ARN of a rule": (
        {"event_bus_arn": "arn:aws:events:us-east-1:123456789012:rule/my-rule"},
        "or leave it out to use the default bus",
    ),
    "topic by its name": (
        {"notification_topic_arn": "my-topic"},
        'notification_topic_arn is "my-topic": write the ARN of a standard SNS topic',
    ),
    "topic that is FIFO": (
        {"notification_topic_arn": "arn:aws:sns:us-east-1:123456789012:my-topic.fifo"},
        "or leave it out to send no messages",
    ),
    "notification of a status that ends nothing": (
        {"notify_on": ["Failed", "Pending"]},
        'notify_on is ["Failed","Pending"]: write one or more of Completed, PartiallyCompleted',
    ),
    "notification of nothing": ({"notify_on": []}, "leave notification_topic_arn out"),
    "alarm at once": ({"pending_age_alarm_hours": 0}, "write a number above 0"),
    "share of all records": (
        {"failed_records_alarm_percent": 100},
        "failed_records_alarm_percent is 100: write a number from 0 to less than 100",
    ),
    "share below none": ({"failed_records_alarm_percent": -1}, "is -1: write a number from 0"),
    "stall of a moment": (
        {"stalled_job_alarm_minutes": 5},
        "stalled_job_alarm_minutes is 5: write a multiple of 5 from 10 to 1440",
    ),
    "stall between two periods": ({"stalled_job_alarm_minutes": 32}, "is 32: write a multiple of 5"),
    "stall of more than a day": ({"stalled_job_alarm_minutes": 1445}, "from 10 to 1440"),
}

#: By input, a value of another Region, account or partition than the queue's, and words of the message.
PLACES: dict[str, tuple[Any, str]] = {
    "kms_key_arn": (
        "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "but the queue is in us-east-1 (partition aws): write the ARN of a key of this Region",
    ),
    "event_bus_arn": (
        "arn:aws:events:eu-west-1:123456789012:event-bus/my-bus",
        "write the ARN of a bus in us-east-1 (partition aws). A rule of that bus can pass them on",
    ),
    "notification_topic_arn": (
        "arn:aws:sns:eu-west-1:123456789012:my-topic",
        "but the queue is in us-east-1 (partition aws): write the ARN of a topic of this Region",
    ),
    "role_arn": (
        "arn:aws:iam::210987654321:role/my-bedrock-role",
        "but Bedrock takes only a role of the queue's account: write the ARN of a role of 123456789012",
    ),
    "permissions_boundary": (
        "arn:aws-cn:iam::aws:policy/PowerUserAccess",
        "of 123456789012 or of AWS, such as arn:aws:iam::123456789012:policy/my-boundary",
    ),
    "lambda_layers": (
        ["arn:aws:lambda:eu-west-1:123456789012:layer:boto3:1"],
        "write layer versions of us-east-1, such as arn:aws:lambda:us-east-1:123456789012:layer:boto3:1",
    ),
}
#: By route, a model of another place.
PLACED_ROUTES = {
    "foreign-region": "arn:aws:bedrock:eu-west-1::foundation-model/amazon.nova-lite-v1:0",
    "foreign-account": "arn:aws:bedrock:us-east-1:210987654321:application-inference-profile/abc123def456",
    "foreign-partition": "arn:aws-us-gov:bedrock:us-east-1::foundation-model/amazon.nova-lite-v1:0",
}

#: What can only be set for the module's own bucket.
SETTINGS: dict[str, Any] = {
    "uploads_retention_days": 90,
    "results_retention_days": 90,
    "bucket_policy_documents": [json.dumps({"Version": "2012-10-17", "Statement": []})],
}

#: By case: a route (with MODEL, unless it has a model_id), and its faults, each as the message has it.
ROUTES: dict[str, tuple[dict[str, Any], list[str]]] = {
    "no-model": ({"model_id": None}, ["model_id is missing: write a model ID such as"]),
    "provisioned-model": (
        {"model_id": PROVISIONED},
        [f'model_id is "{PROVISIONED}", but batch inference does not'],
    ),
    "misspelled": (
        {"priorty": 9, "max_active_job": 5, "undersized": "on_demand"},
        [
            "max_active_job is not an attribute of a route: write one of invocation_type, max_active_jobs, ",
            "priorty is not an attribute of a route: write one of",
        ],
    ),
    "types": (
        {
            "model_id": ["amazon.nova-lite-v1:0"],
            "undersized": {"to": "reject"},
            "priority": "high",
            "max_active_jobs": [5],
            "media": "maybe",
            "prices": {"input_per_million_token": 1, "output_per_million_tokens": 2},
            "tags": ["Team"],
        },
        [
            'media is "maybe": write true or false.',
            'tags is ["Team"]: write tags in braces, such as { Team = "summaries" }.',
            'undersized is {"to":"reject"}: write text in quotes.',
            "max_active_jobs is [5]: write a whole number of 1 or more",
            'priority is "high": write a whole number from 0 to 100 (0 is last, 100 is first), or leave it',
            'prices is {"input_per_million_token":1,"output_per_million_tokens":2}: write two numbers of',
            'model_id is ["amazon.nova-lite-v1:0"]: write a model ID such as',
        ],
    ),
    "unknown-model": (
        {"model_id": "claude haiku"},
        ['model_id is "claude haiku", which is not a model: write'],
    ),
    "invocation-type": (
        {"invocation_type": "converse"},
        ['invocation_type is "converse": write "InvokeModel" or "Converse".'],
    ),
    "no-slot": (
        {"max_active_jobs": 0},
        ["max_active_jobs is 0: write a whole number of 1 or more (by default, the input max_active_jobs)"],
    ),
    "half-a-slot": ({"max_active_jobs": 1.5}, ["max_active_jobs is 1.5: write a whole number of 1 or more"]),
    "priority-above": (
        {"priority": 101},
        ["priority is 101: write a whole number from 0 to 100 (0 is last, 100 is first), or leave"],
    ),
    "priority-below": ({"priority": -1}, ["priority is -1: write a whole number from 0 to 100"]),
    "timeout-short": (
        {"timeout_hours": 23},
        ["timeout_hours is 23: write a whole number from 24 to 168 (what Bedrock allows), or leave it out."],
    ),
    "timeout-long": ({"timeout_hours": 169}, ["timeout_hours is 169: write a whole number from 24 to 168"]),
    "tag": ({"tags": {"Team": "R&D"}}, ['tags is {"Team":"R\\u0026D"}: write 1 to 128 letters']),
    "tag-reserved": ({"tags": {"AWS:team": "a"}}, ['tags is {"AWS:team":"a"}: write']),
    "tags-of-a-route-and-the-queue": (
        {"tags": {f"tag-{number}": "a" for number in range(50)}},
        ["tags has 50 tags, which makes 51 with those of the queue. A job takes 50: write fewer here or"],
    ),
    "three-dots": (
        {"model_id": "us.zai.glm-4.7"},
        ['model_id is "us.zai.glm-4.7", which is not a model: write'],
    ),
    "quota-by-name": (
        {"quota_code": "batch inference jobs"},
        ['quota_code is "batch inference jobs": write the QuotaCode, such as "L-1A2B3C4D"'],
    ),
    "quota-lower-case": ({"quota_code": "l-1a2b3c4d"}, ['quota_code is "l-1a2b3c4d": write']),
    "quota-and-number": (
        {"quota_code": "L-1A2B3C4D", "max_active_jobs": 5},
        ["max_active_jobs and quota_code are both given: write only one of them."],
    ),
    "all-reserved": (
        {"max_active_jobs": 3, "reserved_slots": 3},
        ["reserved_slots is 3 of 3 jobs, which leaves the route none: write reserved_slots below"],
    ),
    "all-of-the-module-reserved": ({"reserved_slots": 10}, ["reserved_slots is 10 of 10 jobs"]),
    "reserve-below": (
        {"reserved_slots": -1},
        ["reserved_slots is -1: write a whole number of 0 or more (below max_active_jobs), or"],
    ),
    "reserve-half": ({"reserved_slots": 0.5}, ["reserved_slots is 0.5: write a whole number of 0 or more"]),
    "minimum-of-none": (
        {"min_records_per_job": 0},
        ["min_records_per_job is 0: write a whole number of 1 or more"],
    ),
    "fraction-of-records": (
        {"max_records_per_job": 1000.5},
        ["max_records_per_job is 1000.5: write a whole"],
    ),
    "files-of-none": ({"max_records_per_file": 0}, ["max_records_per_file is 0: write a whole number of 1"]),
    "minimum-above-maximum": (
        {"min_records_per_job": 500, "max_records_per_job": 499},
        ["min_records_per_job is 500 and max_records_per_job is 499: write a minimum that is not above"],
    ),
    "maximum-below-the-usual-minimum": (
        {"max_records_per_job": 50},
        ["min_records_per_job is 100 and max_records_per_job is 50"],
    ),
    "file-in-gigabytes": (
        {"max_bytes_per_file": 1},
        ["max_bytes_per_file is 1: write a whole number of 1000 or more (in bytes: 1 GB is 1000000000)"],
    ),
    "job-in-gigabytes": ({"max_bytes_per_job": 5}, ["max_bytes_per_job is 5: write a whole number of 1000"]),
    "fraction-of-a-byte": ({"max_bytes_per_file": 1000.5}, ["max_bytes_per_file is 1000.5: write a whole"]),
    "wait-below": (
        {"pack_wait_minutes": -1},
        ["pack_wait_minutes is -1: write a whole number from 0 to 1440"],
    ),
    "wait-above": ({"pack_wait_minutes": 1441}, ["pack_wait_minutes is 1441: write a whole number from 0"]),
    "wait-half": ({"pack_wait_minutes": 0.5}, ["pack_wait_minutes is 0.5: write a whole number from 0"]),
    "undersized": (
        {"undersized": "drop"},
        ['undersized is "drop": write "reject" or "on_demand" or "flex".'],
    ),
    "custom-model-on-demand": (
        {"model_id": CUSTOM_MODEL, "undersized": "on_demand"},
        ['undersized is "on_demand", but a custom model\'s ARN cannot be invoked: write "reject".'],
    ),
    "custom-model-flex": (
        {"model_id": CUSTOM_MODEL, "undersized": "flex"},
        ['undersized is "flex", but a custom model\'s ARN cannot be invoked: write "reject".'],
    ),
    "no-attempt": (
        {"max_record_attempts": 0},
        ["max_record_attempts is 0: write a whole number from 1 to 10"],
    ),
    "eleven-attempts": (
        {"max_record_attempts": 11},
        ["max_record_attempts is 11: write a whole number from 1"],
    ),
    "half-an-attempt": (
        {"max_record_attempts": 1.5},
        ["max_record_attempts is 1.5: write a whole number from 1"],
    ),
    "price-below": (
        {"prices": {"input_per_million_tokens": 0.4, "output_per_million_tokens": -2}},
        ["write two numbers of 0 or more, such as { input_per_million_tokens = 0.4, output_per"],
    ),
    "price-too-many": (
        {"prices": {"input_per_million_tokens": 1, "output_per_million_tokens": 2, "cached": 0.1}},
        ['prices is {"cached":0.1,"input_per_million_tokens":1,"output_per_million_tokens":2}: write two'],
    ),
    "price-of-null": (
        {"prices": {"input_per_million_tokens": None, "output_per_million_tokens": 2}},
        ['prices is {"input_per_million_tokens":null,"output_per_million_tokens":2}: write two numbers'],
    ),
    "everything": (
        {
            "model_id": "claude haiku",
            "invocation_type": "converse",
            "undersized": "drop",
            "priority": 101,
            "max_record_attempts": 0,
            "reserved_slots": 10,
            "quota_code": "",
            "max_active_jobs": 2.5,
            "min_records_per_job": 60000,
            "tags": {"Team": None},
        },
        [
            "max_active_jobs is 2.5: write",
            "max_record_attempts is 0: write",
            "priority is 101: write",
            'invocation_type is "converse": write',
            'undersized is "drop": write',
            "max_active_jobs and quota_code are both given",
            'quota_code is "": write',
            "min_records_per_job is 60000 and max_records_per_job is 50000",
            'tags is {"Team":null}: write',
            'model_id is "claude haiku", which is not a model',
        ],
    ),
}


#: In place of each policy of the roles, one that is too long by itself. A function's role has two policies.
LONG_POLICY = json.dumps({"Statement": [{"Resource": "x" * 11_000}]})
LONG_POLICIES = f"""
  override_data {{
    target = data.aws_iam_policy_document.role
    values = {{ json = {json.dumps(LONG_POLICY)} }}
  }}
"""
POLICIES = {
    f'resource "aws_iam_role_policy" "{role}"': number * len(LONG_POLICY.replace(" ", ""))
    for role, number in (("process_batch_jobs", 2), ("collect_results", 2), ("bedrock", 1))
}


@dataclass
class Run:
    """What one `terraform test` file plans, and the messages that it ended with, by the block they are of.

    ``overrides``: blocks of the run that replace what the mocks answer.
    """

    inputs: dict[str, Any]
    overrides: str = ""
    messages: list[tuple[str, str]] = field(default_factory=list)

    def of(self, block: str) -> list[str]:
        """Return the messages of one block, such as ``variable "name"``."""
        return [text for where, text in self.messages if where == block]


def together(cases: Mapping[str, tuple[dict[str, Any], str]]) -> dict[str, Run]:
    """Spread the cases over as few runs as can be; one run has one value of an input."""
    runs: list[Run] = []
    placed: dict[str, Run] = {}
    for case, (inputs, _) in cases.items():
        taken = set(inputs).union(*(HELD_AGAINST.get(name, ()) for name in inputs))
        run = next((each for each in runs if not taken & each.inputs.keys()), None)
        if run is None:
            runs.append(run := Run({}))
        run.inputs |= dict.fromkeys(taken) | inputs
        placed[case] = run
    return placed


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Every case's run, after all of them have failed in one `terraform test`."""
    by_case = together(INPUTS)
    rows = {name: {**MODEL, **route} for name, (route, _) in ROUTES.items()}
    by_case |= dict.fromkeys(ROUTES, Run({"routes": rows}))
    by_case["default"] = Run({"model_id": CUSTOM_MODEL, "routes": {"default": {"undersized": "on_demand"}}})
    by_case["places"] = Run(
        {
            **{name: value for name, (value, _) in PLACES.items()},
            "create_role": False,
            "routes": {name: {"model_id": arn} for name, arn in PLACED_ROUTES.items()},
        }
    )
    by_case["long policies"] = Run({}, LONG_POLICIES)
    by_case["existing bucket"] = Run({"create_bucket": False})
    by_case["settings of another's bucket"] = Run(
        {"create_bucket": False, "bucket_name": "team-files", **SETTINGS}
    )

    copy = tmp_path_factory.mktemp("module")
    for part in [*checks.ROOT.glob("*.tf"), checks.ROOT / "dist" / "lambdas.zip"]:
        (copy / part.relative_to(checks.ROOT)).parent.mkdir(exist_ok=True)
        shutil.copy(part, copy / part.relative_to(checks.ROOT))
    shutil.copytree(checks.ROOT / "tests" / "terraform" / "mocks", copy / "tests" / "mocks")
    runs = {
        f"run_{number}": run for number, run in enumerate({id(run): run for run in by_case.values()}.values())
    }
    for name, run in runs.items():
        inputs = {key: value for key, value in {**MODEL, **run.inputs}.items() if value is not None}
        values = "\n".join(f"    {key} = {json.dumps(value)}" for key, value in inputs.items())
        (copy / "tests" / f"{name}.tftest.hcl").write_text(
            'mock_provider "aws" {\n  source = "./tests/mocks"\n  override_during = plan\n}\n'
            f'run "{name}" {{\n  command = plan\n{run.overrides}  variables {{\n{values}\n  }}\n}}\n'
        )
    started = checks.terraform_at(copy, "messages", "init", "-backend=false", "-input=false", "-no-color")
    assert started.returncode == 0, started.stdout + started.stderr
    done = checks.terraform_at(copy, "messages", "test", "-json")
    for line in done.stdout.splitlines():
        report = json.loads(line)
        if report["type"] == "diagnostic" and report["diagnostic"]["severity"] == "error":
            found = report["diagnostic"]
            snippet = found.get("snippet") or {"context": found["summary"]}
            # Of an input that is not given, its declaration is shown.
            where = snippet["context"] or snippet["code"].removesuffix(" {")
            if where.startswith("run "):  # The value is to blame that the run gives to a variable.
                where = f'variable "{snippet["code"].partition("=")[0].strip()}"'
            text = found["detail"].partition("\n\nThis was checked by")[0]
            runs[report["@testrun"]].messages.append((where, text))
    return by_case


@pytest.mark.parametrize("case", INPUTS)
def test_a_wrong_input_is_told_by_its_validation(ended: dict[str, Run], case: str) -> None:
    inputs, words = INPUTS[case]

    (message,) = ended[case].of(f'variable "{next(iter(inputs))}"')

    assert words in message


def test_nothing_but_the_wrong_inputs_is_told(ended: dict[str, Run]) -> None:
    wrong = {f'variable "{next(iter(inputs))}"' for inputs, _ in INPUTS.values()}

    for case in INPUTS:
        assert {where for where, _ in ended[case].messages} <= wrong


@pytest.mark.parametrize("name", ROUTES)
def test_all_faults_of_a_route_are_told_at_once(ended: dict[str, Run], name: str) -> None:
    told = [text for text in ended[name].of(ROUTE_ROW) if text.startswith(f'routes["{name}"]')]

    faults = []
    for message in told:
        first, *some = message.split("\n- ")
        assert first in {
            f'routes["{name}"] cannot be used {why}:' for why in ("as it is written", "with its model")
        }
        faults += some
    expected = ROUTES[name][1]
    assert len(faults) == len(expected), told
    for fault, words in zip(faults, expected, strict=True):
        assert words in fault


def test_no_other_error_hides_what_is_wrong_with_routes(ended: dict[str, Run]) -> None:
    found = ended["everything"].messages

    assert {where for where, _ in found} == {ROUTE_ROW}
    assert all(text.startswith('routes["') for _, text in found)


def test_the_default_route_is_checked_with_the_module_s_model(ended: dict[str, Run]) -> None:
    ((where, message),) = ended["default"].messages

    assert where == ROUTE_ROW
    assert 'routes["default"]' in message
    assert "a custom model's ARN cannot be invoked" in message


@pytest.mark.parametrize("name", PLACES)
def test_what_is_of_another_place_is_told(ended: dict[str, Run], name: str) -> None:
    value, words = PLACES[name]

    (message,) = [text for text in ended["places"].of(PLACES_BLOCK) if text.startswith(f"{name} is ")]
    assert words in message
    assert json.dumps(value, separators=(",", ":")) in message


@pytest.mark.parametrize("name", PLACED_ROUTES)
def test_a_route_s_model_of_another_place_is_told(ended: dict[str, Run], name: str) -> None:
    (message,) = [text for text in ended["places"].of(ROUTE_ROW) if text.startswith(f'routes["{name}"]')]

    assert (
        f'has the model_id "{PLACED_ROUTES[name]}", but the queue is in account 123456789012 in us-east-1'
        in message
    )


def test_nothing_else_is_told_of_other_places(ended: dict[str, Run]) -> None:
    assert len(ended["places"].messages) == len(PLACES) + len(PLACED_ROUTES)


@pytest.mark.parametrize("block", POLICIES)
def test_policies_that_iam_would_refuse_are_told_with_a_way_out(ended: dict[str, Run], block: str) -> None:
    (message,) = ended["long policies"].of(block)

    assert f"have {POLICIES[block]} characters, but IAM takes 10240 for the inline policies" in message
    assert "each model of the routes (1)" in message
    assert ("each of media_prefixes" in message) == ("bedrock" not in block)
    assert "divide the routes between two queues" in message


def test_an_existing_bucket_needs_its_name(ended: dict[str, Run]) -> None:
    ((where, message),) = ended["existing bucket"].messages

    assert where == 'variable "create_bucket"'
    assert 'write bucket_name = "my-bucket"' in message


@pytest.mark.parametrize("name", SETTINGS)
def test_an_existing_bucket_keeps_its_settings(ended: dict[str, Run], name: str) -> None:
    found = ended["settings of another's bucket"]

    (message,) = found.of(f'variable "{name}"')
    assert message.startswith(f"{name} is for a bucket that the module creates, but create_bucket is false")
    assert len(found.messages) == len(SETTINGS)
