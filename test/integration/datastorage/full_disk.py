"""Run by `test_a_full_disk` in a mount namespace: fills the database's disk and frees it again.

Prints what happened; exits with a trace if anything was not as it should be.
"""

import errno
import subprocess
import sys
import tempfile
from pathlib import Path
from uuid import uuid4

from kubernaut.audit import uuid7
from kubernaut.datastorage import migrate
from kubernaut.local import PostgresServer
from test.datastorage_service import BATCH, EVENTS, DataStorageProcess
from test.polling import wait_for

DISK_MIB = 256


def event(name: str) -> dict[str, object]:
    return {
        "event_id": str(uuid7()),
        "event_timestamp": "2026-11-01T00:00:00Z",
        "event_category": "workflow",
        "event_action": "progressed",
        "correlation_id": name,
        "event_data": {"text": "x" * 2000},
    }


def fill(path: Path) -> None:
    with path.open("wb", buffering=0) as ballast:
        block = bytes(2**16)
        while True:
            try:
                ballast.write(block)
            except OSError as error:
                if error.errno != errno.ENOSPC:
                    raise
                return


def main(mount: Path) -> None:
    mode = f"mode=0755,size={DISK_MIB}m"
    subprocess.run(["mount", "-t", "tmpfs", "-o", mode, "disk", str(mount)], check=True)
    # PostgreSQL's user must reach its home; pytest's directories are closed to others.
    home = Path(tempfile.mkdtemp(prefix="kubernaut-disk-"))
    home.chmod(0o755)
    subprocess.run(["mount", "--bind", str(mount), str(home)], check=True)
    settings = {"max_wal_size": "64MB", "min_wal_size": "32MB"}
    with PostgresServer(home, settings=settings) as server:
        url = server.url("kubernaut_datastorage")
        migrate(url)
        name = f"rr-{uuid4()}"
        with DataStorageProcess(url, mount.parent) as service:
            assert service.post(EVENTS, event(name)).status_code == 201
            fill(mount / "ballast")
            batches = [[event(name) for _ in range(200)] for _ in range(200)]
            stored = 1
            for batch in batches:
                answer = service.post(BATCH, batch)
                if answer.status_code == 503:
                    break
                assert answer.status_code == 201, answer.text
                stored += len(batch)
            else:
                raise AssertionError("the disk did not fill up")
            assert answer.json()["database"] in {"disk_full", "disconnected", "starting"}, (
                answer.text
            )
            health = service.get("/health")
            assert health.status_code == 503, health.text
            (mount / "ballast").unlink()
            wait_for(lambda: service.post(BATCH, batch).status_code == 201, 5, "the batch again")
            verification = service.verify(name)
            assert verification["tampered_events"] == []
            assert verification["total_events"] == stored + len(batch)
    sys.stdout.write("full, refused, freed, stored\n")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
