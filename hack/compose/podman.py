"""Podman and what it needs: found or installed, and set up in a place of its own.

No configuration of a user or of the system is changed. Where systemd runs, podman works as its user
has set it up, and is left at that. Where it does not (a sandbox, a container), it gets a
configuration of its own through CONTAINERS_CONF.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Final, NoReturn

ROOT: Final = Path(__file__).resolve().parents[2]
BIN: Final = ROOT / ".venv/bin"
CACHE: Final = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "kubernaut" / "images"
)
COMPOSE_ENVIRONMENT: Final = CACHE / "podman-compose"

_HELPERS: Final = Path("/usr/lib/podman")
# Where there is no systemd: podman's defaults are crun and cgroups of systemd, and its limits are
# higher than a sandbox may allow.
_CONFIGURATION: Final = """\
[containers]
default_ulimits = ["nofile=1024:1024", "nproc=4096:4096"]
[engine]
runtime = "runc"
cgroup_manager = "cgroupfs"
events_logger = "file"
helper_binaries_dir = ["/usr/lib/podman", "/usr/libexec/podman"]
[network]
network_backend = "netavark"
"""
_REGISTRY_SECONDS: Final = 600


def say(message: str) -> None:
    print(f"compose: {message}", file=sys.stderr, flush=True)


def fail(message: str) -> NoReturn:
    sys.exit(f"compose: {message}")


def systemd_runs() -> bool:
    return Path("/run/systemd/system").is_dir()


@cache
def environment() -> Mapping[str, str]:
    """What the commands need beside what is there: to be exported by whoever types them."""
    found = {
        "PATH": f"{COMPOSE_ENVIRONMENT / 'bin'}:{os.environ['PATH']}",
        # The other form of images has no health check.
        "BUILDAH_FORMAT": "docker",
    }
    if not systemd_runs():
        configuration = CACHE / "containers.conf"
        configuration.parent.mkdir(parents=True, exist_ok=True)
        configuration.write_text(_CONFIGURATION)
        found["CONTAINERS_CONF"] = str(configuration)
        # Podman would ask systemd to run health checks, and complain of every container.
        found["DISABLE_HC_SYSTEMD"] = "true"
    return found


def quiet(*command: str | Path, check: bool = True, **options: object) -> str:
    """Run a command and give its output; where it fails, end with what it said.

    Args:
        command: and its arguments.
        check: whether a failure is an end; else the output of a failure is the empty text.
        options: of `subprocess.run`.
    """
    done = subprocess.run(
        [str(word) for word in command],
        check=False,
        capture_output=True,
        text=True,
        env=os.environ | environment(),
        **options,  # type: ignore[call-overload]
    )
    if done.returncode and check:
        fail(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stderr}")
    return "" if done.returncode else str(done.stdout).strip()


def succeeds(*command: str | Path) -> bool:
    done = subprocess.run(
        [str(word) for word in command],
        check=False,
        capture_output=True,
        env=os.environ | environment(),
    )
    return not done.returncode


def require(*packages: str) -> None:
    """Have Debian packages, of which each brings the program or file of `_missing`.

    They are installed where that is possible; else the command ends and says what is missing.
    """
    missing = list(_missing(packages))
    if not missing:
        return
    names = " ".join(missing)
    if os.geteuid() or not shutil.which("apt-get"):
        fail(f"these programs are missing: {names}; install them (on Debian: apt-get install)")
    say(f"installing {names}")
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing]
    for command in (["apt-get", "update", "--quiet"], install):
        quiet(*command, check=command is install)  # Somebody's broken third source is no matter.
    if still := list(_missing(packages)):
        fail(f"these programs are missing although their packages are there: {' '.join(still)}")


def _missing(packages: Sequence[str]) -> Iterator[str]:
    for package in packages:
        helper = package in {"netavark", "aardvark-dns"}
        places = [_HELPERS, Path("/usr/libexec/podman")]
        there = helper and any((place / package).exists() for place in places)
        if not there and (helper or not shutil.which(package)):
            yield package


def prepare() -> None:
    """Podman, and podman-compose of the version in uv.lock (Debian's is old)."""
    needed = ["podman", "curl", "make"]
    if not systemd_runs():
        needed += ["runc", "netavark", "aardvark-dns", "iptables"]
    require(*needed)
    if not BIN.exists():
        fail(f"{BIN} is missing; run: make .venv/.installed")
    variables = os.environ | {"UV_PROJECT_ENVIRONMENT": str(COMPOSE_ENVIRONMENT)}
    variables.pop("VIRTUAL_ENV", None)
    command = [BIN / "uv", "sync", "--quiet", "--frozen", "--only-group", "compose"]
    command += ["--python", BIN / "python"]
    if subprocess.run(command, check=False, cwd=ROOT, env=variables).returncode:
        fail("podman-compose could not be installed; uv's message is above")


def import_image(archive: Path, name: str, changes: Sequence[str] = ()) -> None:
    """Make an image of a root file system in a tar archive."""
    options = [word for change in changes for word in ("--change", change)]
    quiet("podman", "import", "--quiet", *options, archive, name)


def keep_only(archive: Path) -> None:
    """Remove what the cache has of the same kind and is no longer used."""
    kind = archive.name.rpartition("-")[0]
    for other in CACHE.glob(f"{kind}-*.tar*"):
        if other != archive:
            other.unlink()


def pulled(name: str) -> bool:
    """Whether an image could be had from its registry."""
    try:
        done = subprocess.run(
            ["podman", "pull", "--quiet", name],  # noqa: S607  (the one on PATH)
            check=False,
            capture_output=True,
            timeout=_REGISTRY_SECONDS,
            env=os.environ | environment(),
        )
    except subprocess.TimeoutExpired:
        return False
    return not done.returncode
