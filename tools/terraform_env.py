"""Where Terraform gets the AWS provider from on this machine, and the environment that all our runs share.

    python tools/terraform_env.py          # writes .build/terraform.rc and says what is used

The order: TERRAFORM_PROVIDER_MIRROR; the user's own CLI configuration, if it has a ``provider_installation``
block; Terraform's usual mirror folders; the folders that FHS keeps for add-on packages; the registry. The
usual folders are those of Terraform's CLI documentation ("Implied Local Mirror Directories").
"""

from __future__ import annotations

import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CONFIG = ROOT / ".build" / "terraform.rc"
PROVIDER = Path("registry.terraform.io") / "hashicorp" / "aws"
#: How deep below the folder for add-on packages a mirror is looked for.
SEARCH_DEPTH = 4
LOCAL_HOSTS = ("127.0.0.1", "localhost", "::1")


@dataclass(frozen=True)
class ProviderSource:
    """Where the provider comes from: a CLI configuration file and a sentence that says so."""

    config: Path
    description: str


def target() -> str:
    """Return this machine's platform as Terraform writes it, such as ``linux_amd64``."""
    machine = platform.machine().lower()
    known = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
    return f"{sys.platform}_{known.get(machine, machine)}"


def serves(mirror: Path) -> bool:
    """Tell whether the folder is a mirror (packed or unpacked) that has the AWS provider for this machine."""
    provider = mirror / PROVIDER
    try:
        unpacked = any(provider.glob(f"*/{target()}"))
        return unpacked or any(provider.glob(f"terraform-provider-aws_*_{target()}.zip"))
    except OSError:
        return False


def usual_mirrors() -> list[Path]:
    """Return the folders that Terraform itself takes for mirrors, in its order."""
    home = Path.home()
    folders = [Path.cwd() / "terraform.d" / "plugins", home / ".terraform.d" / "plugins"]
    if sys.platform == "darwin":
        folders += [home / "Library/Application Support/io.terraform/plugins"]
        folders += [Path("/Library/Application Support/io.terraform/plugins")]
    else:
        data_home = os.environ.get("XDG_DATA_HOME") or str(home / ".local/share")
        data_dirs = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        folders += [Path(d) / "terraform" / "plugins" for d in [data_home, *data_dirs.split(":")] if d]
    return folders


def add_on_mirrors(top: Path = Path("/opt")) -> list[Path]:
    """Return the folders a few levels below ``top`` that hold a ``registry.terraform.io``, nearest first."""
    found = []
    level = [top]
    for _ in range(SEARCH_DEPTH):
        below: list[Path] = []
        for folder in level:
            try:
                children = sorted(p for p in folder.iterdir() if p.is_dir() and not p.is_symlink())
            except OSError:
                continue
            if any(p.name == PROVIDER.parts[0] for p in children):
                found.append(folder)
            else:
                below += children
        level = below
    return found


def own_configuration() -> Path | None:
    """Return the user's CLI configuration if it exists and says itself how providers are installed."""
    given = os.environ.get("TF_CLI_CONFIG_FILE")
    path = Path(given) if given else Path.home() / ".terraformrc"
    try:
        return path if path != CONFIG and "provider_installation" in path.read_text() else None
    except OSError:
        return None


def find_mirror() -> Path | None:
    """Return the mirror to use, or None if there is none on this machine."""
    return next((m for m in [*usual_mirrors(), *add_on_mirrors()] if serves(m)), None)


def prepare() -> ProviderSource:
    """Write ``.build/terraform.rc`` and return what is used.

    Raises SystemExit with advice when TERRAFORM_PROVIDER_MIRROR names a folder without the provider.
    """
    CONFIG.parent.mkdir(parents=True, exist_ok=True)
    given = os.environ.get("TERRAFORM_PROVIDER_MIRROR")
    if given:
        mirror: Path | None = Path(given).expanduser().resolve()
        if mirror is None or not serves(mirror):
            raise SystemExit(
                f"TERRAFORM_PROVIDER_MIRROR={given} has no {PROVIDER} for {target()}. Give the folder "
                f"that holds {PROVIDER.parts[0]}, or unset the variable to use the registry."
            )
        why = f"mirror {mirror} (TERRAFORM_PROVIDER_MIRROR)"
    elif own := own_configuration():
        return ProviderSource(own, f"your own Terraform CLI configuration {own}")
    else:
        mirror = find_mirror()
        why = f"mirror {mirror}" if mirror else "the Terraform registry"
    lines = ["disable_checkpoint = true"]
    if mirror:
        path, name = json.dumps(str(mirror)), json.dumps(PROVIDER.as_posix())
        lines += [
            "provider_installation {",
            f"  filesystem_mirror {{\n    path    = {path}\n    include = [{name}]\n  }}",
        ]
        lines += [f"  direct {{\n    exclude = [{name}]\n  }}", "}"]
    else:
        cache = ROOT / ".build" / "terraform-plugins"
        cache.mkdir(parents=True, exist_ok=True)
        lines += [f"plugin_cache_dir = {json.dumps(str(cache))}"]
    text = "\n".join(lines) + "\n"
    if not CONFIG.exists() or CONFIG.read_text() != text:
        CONFIG.write_text(text)
    return ProviderSource(CONFIG, why)


def without_settings(environ: dict[str, str]) -> dict[str, str]:
    """Return ``environ`` without what sends AWS or Terraform elsewhere, and no proxy for this machine."""
    env = {
        k: v for k, v in environ.items() if not k.startswith(("AWS_", "TF_", "PYTHON")) and k != "VIRTUAL_ENV"
    }
    for name in ("NO_PROXY", "no_proxy"):
        hosts = [h.strip() for h in env.get(name, "").split(",") if h.strip()]
        env[name] = ",".join([*hosts, *(h for h in LOCAL_HOSTS if h not in hosts)])
    # Files that do not exist stand for "no profile, no settings".
    env["AWS_CONFIG_FILE"] = env["AWS_SHARED_CREDENTIALS_FILE"] = os.devnull
    env["AWS_EC2_METADATA_DISABLED"] = "true"
    return env


def environment(data_dir: Path) -> dict[str, str]:
    """Return the environment of one Terraform run whose data folder is ``data_dir``."""
    env = without_settings(dict(os.environ))
    env.update(
        TF_CLI_CONFIG_FILE=str(prepare().config),
        TF_DATA_DIR=str(data_dir),
        TF_IN_AUTOMATION="1",
        TF_INPUT="0",
        CHECKPOINT_DISABLE="1",
        # The provider's schema is large and stays: collected less often, a run takes a quarter less CPU time.
        GOGC=os.environ.get("GOGC", "400"),
    )
    return env


if __name__ == "__main__":
    source = prepare()
    print(f"terraform: the AWS provider comes from {source.description}")
