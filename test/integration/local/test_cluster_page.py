"""The examples of the page on local clusters, run as they are written."""

import subprocess
import sys

import pytest

from test.unit.docs.pages import blocks, read

EXAMPLES = [
    example
    for example in blocks(read("how-to/local-cluster"), "python")
    if "with LocalCluster(" in example
]


@pytest.mark.parametrize("example", EXAMPLES, ids=["plain", "tekton"])
def test_an_example_runs(example: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", example],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (done.returncode, done.stderr) == (0, "")
