"""`python -m tests.local_aws up|down|status`, which `make up`, `make down` and `make status` call."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from tests.local_aws.environment import LOCAL_ENV, REGION, Up, scrub
from tests.local_aws.processes import ROOT, LocalAwsError


def up(name: str, simulator: Path | None) -> int:
    """Start everything, apply the module and say how to go on."""
    config: dict[str, Any] = json.loads(simulator.read_text()) if simulator else {}
    stack = Up(name=name, simulator=config)
    try:
        stack.up()
    except BaseException:
        # What is half up is of no use, and nobody would look for its processes.
        keep = (
            stack.folder / "localstack.log",
            stack.folder / "simulator.log",
            stack.folder / "terraform.log",
        )
        kept = [f for f in keep if f.exists()]
        logs = ROOT / ".build" / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        for file in kept:
            file.rename(logs / f"up-{file.name}")
        stack.down()
        if kept:
            print(
                f"local AWS: taken down again; its logs are in {logs.relative_to(ROOT)}/up-*", file=sys.stderr
            )
        raise
    env = stack.local_env()
    print(
        f"""
The local AWS is up: {stack.description}
  bucket  {env["BUCKET"]}
  table   {env["TABLE"]}
  logs    {stack.logs().relative_to(ROOT)}/<function>.log (and CloudWatch Logs)

Go on from here, for example:
  set -a; . {LOCAL_ENV.relative_to(ROOT)}; set +a
  pip install .   # bedrock-batch, in an environment of your own
  bedrock-batch submit my-requests.jsonl --wait
  bedrock-batch watch
or with any AWS client:
  aws s3 cp my-requests.jsonl "s3://$BUCKET/to-process/my-requests.jsonl"
  aws s3 ls --recursive "s3://$BUCKET/processed/"
The simulated Bedrock is at {env["BEDROCK_URL"]} (its state: {env["BEDROCK_URL"]}/_simulator/state).
`make up` again deploys what was changed; `make down` ends it all."""
    )
    return 0


def down() -> int:
    """End exactly what `up` started."""
    ran = Up().down()
    print("The local AWS is down." if ran else "The local AWS was not up.")
    return 0


def status() -> int:
    """Say what runs; the exit code is 0 only when all of it does."""
    stack = Up()
    if not stack.find():
        left = stack.running()
        print(
            "The local AWS is not up." if not left else f"Only {', '.join(p.name for p in left)} still runs."
        )
        print("Start it with `make up`." if not left else "`make down` ends it.")
        return 1
    print(f"The local AWS is up: {stack.description}, Region {REGION}")
    for process in stack.running():
        print(f"  {process.name}: process {process.pid}, log {process.log.relative_to(ROOT)}")
    if LOCAL_ENV.exists():
        print(f"{LOCAL_ENV.relative_to(ROOT)}:")
        print("".join(f"  {line}\n" for line in LOCAL_ENV.read_text().splitlines()), end="")
    else:
        print("The module is not applied: `make up` does it.")
    return 0


def main() -> int:
    """Command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.local_aws", description="AWS on one machine.")
    commands = parser.add_subparsers(dest="command", required=True)
    starting = commands.add_parser(
        "up", help="start LocalStack and the Bedrock simulator, and apply the module"
    )
    starting.add_argument("--name", default="br-batch-inference", help="the module's input `name`")
    starting.add_argument("--simulator", type=Path, help="settings of the Bedrock simulator, a JSON file")
    commands.add_parser("down", help="end what `up` started")
    commands.add_parser("status", help="say what runs")
    args = parser.parse_args()
    scrub()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        if args.command == "up":
            return up(args.name, args.simulator)
        return down() if args.command == "down" else status()
    except LocalAwsError as error:
        print(f"local AWS: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("local AWS: interrupted", file=sys.stderr)
        return 128 + signal.SIGINT


if __name__ == "__main__":
    os.chdir(ROOT)
    sys.exit(main())
