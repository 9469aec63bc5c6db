"""Start AWS's runtime interface client for one function, and end with the process that started it.

    python -P bootstrap.py <lifeline> <handler>

``lifeline`` is the number of a pipe's reading end whose writing end only LocalStack holds: when LocalStack is
gone, however it went, the pipe is at its end, and this process leaves at once.
"""

from __future__ import annotations

import os
import sys
import threading


def watch(lifeline: int) -> None:
    """Leave the process as soon as the other end of the pipe is closed."""
    while os.read(lifeline, 1):
        pass
    os._exit(0)


if __name__ == "__main__":
    threading.Thread(target=watch, args=(int(sys.argv[1]),), daemon=True).start()
    # Lambda puts the package before everything else; -P keeps this file's own folder out.
    sys.path.insert(0, os.environ["LAMBDA_TASK_ROOT"])
    from awslambdaric.__main__ import main

    main([sys.argv[0], sys.argv[2]])
