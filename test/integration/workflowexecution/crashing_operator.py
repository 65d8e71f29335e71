"""The operator as a program that notes the points it passes, and ends with SIGKILL at one of them.

`CRASH_POINTS` is the file of the points; `CRASH_AT` names the point, empty for none. The second
time that a point is passed is another point: `after Store Running`, `after Store Running 2`.
"""

import os
import signal
import sys
from collections import Counter
from pathlib import Path

from kubernaut.workflowexecution import load_settings, serve


def main() -> int:
    record = Path(os.environ["CRASH_POINTS"])
    fatal = os.environ["CRASH_AT"]
    passed: Counter[str] = Counter()

    def hook(name: str) -> None:
        passed[name] += 1
        point = name if passed[name] == 1 else f"{name} {passed[name]}"
        with record.open("a") as points:
            points.write(f"{point}\n")
        if point == fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    return serve(load_settings(), hook=hook)


if __name__ == "__main__":
    sys.exit(main())
