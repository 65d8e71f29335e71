"""DataStorage as podman-compose has started it, for tests that ask it over HTTP only.

It is recognised by the label that every compose program puts on its containers, and by the folder
that its file is in, not by whatever listens on the documented port.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Final

import httpx2

from test.datastorage_service import DataStorageProcess

FOLDER: Final = Path(__file__).parent / "integration/workflowexecution"
_LABELS: Final = {
    "com.docker.compose.project": "workflowexecution",
    "com.docker.compose.project.working_dir": str(FOLDER),
    "com.docker.compose.service": "datastorage",
}
_PORT_INSIDE: Final = "8080"


class RunningStack(DataStorageProcess):
    """The DataStorage of a running stack. It is somebody's: no test ends it or sees its log.

    Args:
        container: its name.
        address: its host and port, on this machine.
    """

    def __init__(self, container: str, address: str) -> None:
        self.container = container
        self.url = f"http://{address}"
        self.port = int(address.rpartition(":")[2])
        self.process = None
        self.client = httpx2.Client(base_url=self.url, timeout=60, trust_env=False)


def running_stack() -> RunningStack | None:
    """The stack of this checkout, if one runs; with podman, else with docker."""
    for program in ("podman", "docker"):
        if shutil.which(program) is None:
            continue
        filters = [f"--filter=label={name}={value}" for name, value in _LABELS.items()]
        names = _said(program, "ps", "--filter=status=running", *filters, "--format={{.Names}}")
        for name in names.split():
            return RunningStack(name, _said(program, "port", name, _PORT_INSIDE).split()[0])
    return None


def _said(*command: str) -> str:
    """What a command says; nothing where it fails, as it does where it is not set up."""
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60)
    return "" if done.returncode else done.stdout
