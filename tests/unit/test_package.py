"""The committed package, and the house rules of its modules."""

import ast
import io
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tools import package

pytestmark = pytest.mark.unit

SOURCES = sorted(package.SOURCES.rglob("*.py"))
PURE = {"model", "jsonl", "media", "scheduling", "results", "settings"}
ADAPTERS = {"table", "storage", "bedrock", "runtime", "functions"}
FLOWS = {"intake", "sweep", "processor", "collector", "on_demand"}


def imports(path: Path) -> set[str]:
    """Every module that a source imports, at the top or inside; relative ones as ``.name``."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            if node.level and node.module is None:
                found |= {"." + alias.name for alias in node.names}
            else:
                name = (node.module or "").removeprefix("batch_queue.")
                ours = node.level or (node.module or "").startswith("batch_queue")
                found.add("." + name if ours else name.split(".")[0])
    return found


def inner(names: set[str]) -> list[Path]:
    return [path for path in SOURCES if path.parent.name == "batch_queue" and path.stem in names]


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


def test_the_package_imports_nothing_but_the_standard_library_and_boto3() -> None:
    allowed = sys.stdlib_module_names | {"boto3", "botocore"}
    for path in SOURCES:
        outer = {name for name in imports(path) if not name.startswith(".")}
        # Type stubs are imported for the type checker alone.
        assert {name for name in outer - allowed if not name.startswith("mypy_boto3")} == set(), path


def test_the_package_runs_with_nothing_but_itself_boto3_and_botocore(tmp_path: Path) -> None:
    with zipfile.ZipFile(io.BytesIO(package.PACKAGE.read_bytes())) as found:
        found.extractall(tmp_path)
    code = (
        "import sys, importlib\n"
        "for name in ('create_batch_queue', 'process_batch_jobs', 'collect_results'):\n"
        "    importlib.import_module(name)\n"
        "print(sorted({m.split('.')[0] for m in sys.modules} - set(sys.stdlib_module_names)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=60
    )
    loaded = set(ast.literal_eval(done.stdout))
    # certifi: botocore takes its certificates where it is there.
    runtime = {"boto3", "botocore", "s3transfer", "jmespath", "dateutil", "urllib3", "six", "certifi"}
    ours = {"batch_queue", "create_batch_queue", "process_batch_jobs", "collect_results"}
    assert {name for name in loaded - runtime - ours if not name.startswith("_")} == set()


def test_the_pure_core_imports_the_standard_library_and_itself_alone() -> None:
    for path in inner(PURE):
        names = imports(path)
        assert {name for name in names if name.startswith(".")} <= {f".{name}" for name in PURE}, path
        assert {name for name in names if not name.startswith(".")} <= set(sys.stdlib_module_names), path


def test_adapters_do_not_import_each_other_or_the_flows() -> None:
    for path in inner(ADAPTERS):
        assert not imports(path) & {f".{name}" for name in ADAPTERS | FLOWS}, path


def test_only_handlers_make_clients_and_read_the_environment() -> None:
    for path in inner(PURE | ADAPTERS | FLOWS | {"telemetry"}):
        assert "boto3" not in imports(path), path
        assert "os" not in imports(path), path


def test_every_module_has_its_place_in_the_house() -> None:
    known = PURE | ADAPTERS | FLOWS | {"telemetry", "__init__"}
    assert {path.stem for path in SOURCES if path.parent.name == "batch_queue"} == known
