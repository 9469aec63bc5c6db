"""The memory that a measured process took."""

import resource
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")


def peak_kib() -> int:
    """The most memory that this process has had, in KiB."""
    # Linux hands ru_maxrss on from the process that started this one; VmHWM begins anew.
    if _STATUS.exists():
        return int(_STATUS.read_text().split("VmHWM:")[1].split()[0])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // 1024 if sys.platform == "darwin" else most  # macOS counts bytes
