"""bedrock-batch with the policies for other stacks: they suffice for every command, with IAM enforced."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.iam.world import World, ask, lines
from tests.local_aws.environment import REGION
from tests.local_aws.processes import ROOT

#: By policies, the commands that they suffice for, with their exit codes: 0 done, 1 something is wrong, 2 a
#: mistake, such as to cancel what has ended. 3 would be a refusal of AWS.
COMMANDS: dict[tuple[str, ...], dict[tuple[str, ...], set[int]]] = {
    ("submit", "read"): {
        ("submit", "{file}", "--to", "cli", "--dry-run"): {0},
        ("submit", "{file}", "--to", "cli", "--wait", "-o", "{file}.out"): {0},
        ("submit", "{file}", "--to", "cli", "--wait", "-o", "{file}.out", "--json"): {0},
    },
    ("read",): {
        ("status",): {0},
        ("status", "/"): {0},
        ("status", "cli/a.jsonl"): {0},
        ("jobs", "--since", "1h"): {0},
        ("results", "cli/a.jsonl"): {0},
        ("results", "cli/a.jsonl", "--join", "--format", "csv"): {0},
        ("results", "cli/", "--output", "{file}.results"): {0},
        ("errors", "cli/a.jsonl"): {0},
        ("report", "--since", "1h", "--output", "{file}.html"): {0},
    },
    ("operate", "read"): {
        ("status",): {0},
        ("watch", "--once"): {0},
        ("explain", "cli/a.jsonl"): {0},
        ("cancel", "cli/a.jsonl"): {2},
        ("cancel", "cli/"): {0},
        ("retry", "cli/a.jsonl"): {2},
        ("drain", "--wait"): {0},
        ("resume",): {0},
        ("pause", "--why", "a test", "--route", "default"): {0},
        ("resume", "--route", "default"): {0},
        ("sweep", "cli/"): {0},
        # What other tests have left in the dead-letter queue is wrong.
        ("doctor",): {0, 1},
    },
}


def test_the_policies_suffice_for_every_command(world: World, tmp_path: Path) -> None:
    # Given a file of records, and roles of other stacks that have these policies alone
    world.rest()
    path = tmp_path / "a.jsonl"
    path.write_bytes(lines([ask(number) for number in range(4)]))
    for policies, commands in COMMANDS.items():
        environment = credentials(world, policies)
        for arguments, codes in commands.items():
            # When they type a command
            done = typed(world, environment, [one.format(file=path) for one in arguments])
            # Then nothing is denied; but for the slots, which only the right to give orders shows
            told = f"{policies} {arguments}: {done.returncode}\n{done.stdout}\n{done.stderr}"
            assert done.returncode in codes, told
            assert "lack the permission" not in done.stdout, told
            if arguments[0] not in ("status", "jobs") or "operate" in policies:
                assert "AWS refused" not in done.stderr, told


def typed(
    world: World, environment: dict[str, str], arguments: list[str]
) -> subprocess.CompletedProcess[str]:
    """Runs a command. While it waits, the processor runs, as nothing here wakes it on a schedule."""
    command = [sys.executable, "-m", "bedrock_batch", *arguments]
    pipes: Any = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, env=environment, text=True, **pipes) as process:
        try:
            if "--wait" in arguments:
                world.watch()  # from now on: others were denied what they may not do
                world.until(lambda: process.poll() is not None, " ".join(arguments))
            out, err = process.communicate(timeout=120)
        finally:
            process.kill()
    return subprocess.CompletedProcess(command, process.returncode, out, err)


def credentials(world: World, policies: tuple[str, ...]) -> dict[str, str]:
    """The environment of a role of another stack that has these policies alone."""
    name = f"command-line-{'-'.join(policies)}"
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = world.iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    for policy in policies:
        text = world.outputs["policies"][policy]
        world.iam.put_role_policy(RoleName=name, PolicyName=policy, PolicyDocument=text)
    made = world.ministack.session(role)
    return {
        **{key: text for key, text in os.environ.items() if not key.startswith("AWS_")},
        "AWS_ACCESS_KEY_ID": made["access_key"],
        "AWS_SECRET_ACCESS_KEY": made["secret_key"],
        "AWS_SESSION_TOKEN": made["session_token"],
        "AWS_REGION": REGION,
        "AWS_ENDPOINT_URL": world.ministack.endpoint,
        "BEDROCK_BATCH_QUEUE": world.outputs["events"]["queue"],
        "PYTHONPATH": os.pathsep.join(str(ROOT / folder) for folder in ("cli", "lambdas")),
    }
