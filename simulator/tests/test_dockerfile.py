"""The Dockerfile, as far as that can be seen without Docker: nothing here builds or runs an image."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import sysconfig
from pathlib import Path

from bedrock_batch_simulator import server

from .program import Program

FOLDER = Path(__file__).parent.parent
FILE = FOLDER / "Dockerfile"
EVERYWHERE = "0.0.0.0"  # noqa: S104 (what the image does)


def instruction(pattern: str) -> str:
    """The one match of `pattern` in the Dockerfile."""
    [found] = re.findall(pattern, FILE.read_text(encoding="utf-8"))
    return str(found)


def test_hadolint_has_nothing_to_say() -> None:
    tool = Path(sysconfig.get_path("scripts")) / "hadolint"
    ended = subprocess.run([tool, str(FILE)], capture_output=True, text=True, timeout=60, check=False)
    assert (ended.returncode, ended.stdout) == (0, "")


def test_what_it_copies_is_there_and_sent_to_the_builder() -> None:
    sources = [*instruction(r"COPY (pyproject.*) \./\n").split(), "src"]
    sent = (FOLDER / ".dockerignore").read_text(encoding="utf-8").split("\n")
    assert [name for name in sources if not (FOLDER / name).exists() or f"!{name}" not in sent] == []


def test_its_entrypoint_is_a_command_line_that_the_program_takes() -> None:
    program, *options = json.loads(instruction(r"ENTRYPOINT (\[.*\])"))
    given = server._parser().parse_args(options)
    assert (program, given.host, given.endpoint_url) == ("bedrock-batch-simulator", EVERYWHERE, None)
    assert given.port == int(instruction(r"EXPOSE (\d+)"))


def test_its_health_check_finds_a_server_that_listens_on_all_addresses() -> None:
    python, *command, url = json.loads(instruction(r"HEALTHCHECK [^[]*(\[.*\])"))
    assert (python, url) == ("python", "http://127.0.0.1:8765")
    with Program.started("--host", EVERYWHERE) as program:
        reached = program.url.replace(EVERYWHERE, "127.0.0.1")
        assert subprocess.run([sys.executable, *command, reached], timeout=60, check=False).returncode == 0
