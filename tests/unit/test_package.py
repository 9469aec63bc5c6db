"""The committed package, and the house rules of its modules."""

import ast
import graphlib
import io
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools import package

pytestmark = pytest.mark.unit

SOURCES = sorted(package.SOURCES.rglob("*.py"))
#: The storeys of the house, from the ground up: each may import itself and those below it.
STOREYS = ("core", "aws", "steps")


def module(path: Path, root: Path = package.SOURCES) -> str:
    """The dotted name of a source, such as ``batch_queue.aws.table.jobs``."""
    return ".".join(path.relative_to(root).with_suffix("").parts).removesuffix(".__init__")


def imports(path: Path, root: Path = package.SOURCES) -> set[str]:
    """Every module that a source imports, at the top or inside, by its dotted name.

    ``from a import b`` counts as ``a`` and, where ``b`` is a source too, as ``a.b``.
    """
    found = set()
    folder = path.relative_to(root).parent.parts
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = folder[: len(folder) - node.level + 1] if node.level else ()
            name = ".".join([*above, *([node.module] if node.module else [])])
            inner = {f"{name}.{alias.name}" for alias in node.names}
            found |= {each for each in inner if _is_source(each, root)} or {name}
    return found


def _is_source(name: str, root: Path) -> bool:
    place = root.joinpath(*name.split("."))
    return place.with_suffix(".py").exists() or (place / "__init__.py").exists()


def storey(name: str) -> str:
    """The storey of a module of ours; "" for a handler, or for one that stands above the storeys."""
    first = name.removeprefix("batch_queue.").split(".")[0]
    return first if name.startswith("batch_queue.") and first in STOREYS else ""


def adapter(name: str) -> str:
    """The adapter that a module belongs to: ``table`` is one, whatever files it has."""
    return name.split(".")[2] if storey(name) == "aws" and name.count(".") > 1 else ""


def offences(root: Path = package.SOURCES) -> set[str]:
    """What the house rules forbid, each as ``module imports module``."""
    found = set()
    for path in root.rglob("*.py"):
        name = module(path, root)
        for other in imports(path, root):
            if not other.startswith("batch_queue"):
                allowed = {"core": STDLIB, "aws": STDLIB | SDK, "steps": STDLIB}.get(storey(name))
                good = allowed is None or other.split(".")[0] in allowed or other.startswith("mypy_boto3")
            elif not storey(name):
                good = True  # handlers and clients.py use all storeys
            else:
                below = STOREYS[: STOREYS.index(storey(name)) + 1]
                strangers = {adapter(name), adapter(other)} - {"", "patience", "pool", "telemetry"}
                good = storey(other) in below and (storey(name) != "aws" or len(strangers) <= 1)
            if not good:
                found.add(f"{name} imports {other}")
    return found


STDLIB = frozenset(sys.stdlib_module_names)
SDK = frozenset({"botocore"})


def test_the_committed_package_equals_the_sources() -> None:
    assert package.PACKAGE.read_bytes() == package.build(), "run `make package` and commit dist/lambdas.zip"


def test_a_changed_source_changes_the_package(tmp_path: Path) -> None:
    (tmp_path / "one.py").write_text("x = 1\n")
    before = package.build(tmp_path)
    (tmp_path / "one.py").write_text("x = 2\n")
    assert package.build(tmp_path) != before


def test_the_package_depends_on_contents_alone(tmp_path: Path) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    for folder, mode, end in ((one, 0o600, "\n"), (other, 0o755, "\r\n")):
        (folder / "inner").mkdir(parents=True)
        for name in ("b.py", "a.py", "inner/c.py"):
            (folder / name).write_bytes(f"name = {name!r}{end}".encode())
            (folder / name).chmod(mode)
        (folder / "__pycache__").mkdir()
        (folder / "__pycache__" / "a.pyc").write_bytes(end.encode())
    assert package.build(one) == package.build(other)


def test_the_package_imports_nothing_but_the_standard_library_and_botocore() -> None:
    ours = {module(path).split(".")[0] for path in SOURCES}
    for path in SOURCES:
        outer = {name.split(".")[0] for name in imports(path)} - STDLIB - ours - SDK
        # Type stubs are imported for the type checker alone.
        assert {name for name in outer if not name.startswith("mypy_boto3")} == set(), path


def test_the_package_runs_with_nothing_but_itself_and_botocore(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(package.PACKAGE.read_bytes())) as found:
        found.extractall(tmp_path)
    code = (
        "import sys, importlib\n"
        "for name in ('create_batch_queue', 'process_batch_jobs', 'collect_results', 'operate_queue', "
        "'publish_events'):\n"
        "    importlib.import_module(name)\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(ast.literal_eval(done.stdout))
    # certifi: botocore takes its certificates where it is there.
    runtime = {"botocore", "jmespath", "dateutil", "urllib3", "six", "certifi"}
    ours = {
        "batch_queue",
        "create_batch_queue",
        "process_batch_jobs",
        "collect_results",
        "operate_queue",
        "publish_events",
    }
    assert {name for name in loaded - runtime - ours if not name.startswith("_")} == set()


def test_the_storeys_import_downwards_and_adapters_do_not_know_each_other() -> None:
    assert offences() == set()


@pytest.mark.parametrize(
    ("file", "line", "offence"),
    [
        ("core/names.py", "import boto3", "batch_queue.core.names imports boto3"),
        (
            "core/rows.py",
            "from botocore.config import Config",
            "batch_queue.core.rows imports botocore.config",
        ),
        (
            "core/reading.py",
            "from batch_queue.steps.intake import Intake",
            "batch_queue.core.reading imports batch_queue.steps.intake",
        ),
        (
            "core/media.py",
            "from ..aws import bucket",
            "batch_queue.core.media imports batch_queue.aws.bucket",
        ),
        (
            "aws/bucket.py",
            "from batch_queue.steps import sweep",
            "batch_queue.aws.bucket imports batch_queue.steps.sweep",
        ),
        ("aws/bedrock.py", "from . import bucket", "batch_queue.aws.bedrock imports batch_queue.aws.bucket"),
        (
            "aws/table/jobs.py",
            "def f():\n    from batch_queue.aws.functions import Functions",
            "batch_queue.aws.table.jobs imports batch_queue.aws.functions",
        ),
        ("steps/finish.py", "import boto3", "batch_queue.steps.finish imports boto3"),
        (
            "steps/finish.py",
            "from batch_queue import clients",
            "batch_queue.steps.finish imports batch_queue.clients",
        ),
    ],
)
def test_an_import_that_goes_up_or_sideways_is_noticed(
    file: str, line: str, offence: str, tmp_path: Path
) -> None:
    shutil.copytree(package.SOURCES, tmp_path, dirs_exist_ok=True)
    source = tmp_path / "batch_queue" / file
    source.write_text(f"{source.read_text()}\n{line}\n")
    assert offences(tmp_path) == {offence}


def test_no_module_imports_itself_by_way_of_others() -> None:
    graph = {
        module(path): {name for name in imports(path) if _is_source(name, package.SOURCES)}
        for path in SOURCES
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_only_clients_makes_clients_and_only_handlers_read_the_environment() -> None:
    makers = {module(path) for path in SOURCES if "botocore.session" in imports(path)}
    assert makers == {"batch_queue.clients"}
    handlers = {path.stem for path in SOURCES if path.parent == package.SOURCES}
    assert {module(path) for path in SOURCES if "os" in imports(path)} == handlers


def test_every_module_is_on_a_storey() -> None:
    above = {module(path) for path in SOURCES if not storey(module(path))}
    handlers = {
        "create_batch_queue",
        "process_batch_jobs",
        "collect_results",
        "operate_queue",
        "publish_events",
    }
    assert above == handlers | {"batch_queue", "batch_queue.clients", "batch_queue.start"}
