"""What the stack of test/integration/workflowexecution needs, and the proof that it works.

    python hack/compose prepare    get it, and print what to export before the commands are typed
    python hack/compose test       get it, run the commands, and check what each shows

docs/how-to/compose.md has the rest. Nothing outside of the cache is changed, but for packages of
Debian that are missing.
"""

from __future__ import annotations

import argparse
import shlex
import sys
from pathlib import Path

sys.path.insert(1, str(Path(__file__).resolve().parents[2]))  # For `test`.

import bases
import podman
import report
import wheelhouse


def main() -> None:
    parser = argparse.ArgumentParser(
        "hack/compose", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["prepare", "test"])
    wanted = parser.parse_args().what
    podman.prepare()
    bases.prepare()
    wheels = wheelhouse.prepare()
    if wanted == "test":
        report.test(wheels)
        return
    for name, value in {**podman.environment(), "KUBERNAUT_WHEELHOUSE": wheels}.items():
        print(f"export {name}={shlex.quote(value)}")


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        podman.fail("interrupted")
