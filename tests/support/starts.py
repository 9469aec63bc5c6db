"""How a function's process starts: what Lambda and the module put into its environment."""

from __future__ import annotations

ENVIRONMENT = {
    "AWS_DEFAULT_REGION": "us-east-1",
    "AWS_REGION": "us-east-1",
    "AWS_ACCESS_KEY_ID": "testing",
    "AWS_SECRET_ACCESS_KEY": "testing",
    "AWS_SESSION_TOKEN": "testing",
    "NAME": "queue",
    "TABLE": "table",
    "BUCKET": "bucket",
    "INPUT_PREFIX": "to-process/",
    "OUTPUT_PREFIX": "processed/",
    "WORK_PREFIX": "jobs/",
    "MEDIA_PREFIXES": "to-process/",
    "CREATE_FUNCTION": "create",
    "PROCESS_FUNCTION": "process",
    "COLLECT_FUNCTION": "collect",
}
IN_LAMBDA = {"AWS_LAMBDA_FUNCTION_NAME": "function"}
