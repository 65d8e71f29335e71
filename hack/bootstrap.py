"""Install this checkout into .venv, from a machine that has only Python 3.11 or newer.

Uses the standard library alone. `uv` does the work; where it is not installed, the version that
uv.lock names is taken with pip, or, where there is no pip, fetched from the address in uv.lock
and checked against its hash there.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
import zipfile
from io import BytesIO
from pathlib import Path
from typing import Any, NoReturn

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"


def fail(message: str) -> NoReturn:
    sys.exit(f"install: {message}")


def say(message: str) -> None:
    print(f"install: {message}", flush=True)


if sys.version_info < (3, 11):  # noqa: UP036  (any Python may be asked to run this)
    fail(
        f"Python 3.11 or newer is needed, this is {platform.python_version()} ({sys.executable}); "
        "choose another with: make PYTHON=/path/to/python3.11 ..."
    )

import tomllib  # noqa: E402  (the version check must speak first)


def locked_uv() -> dict[str, Any]:
    packages = tomllib.loads((ROOT / "uv.lock").read_text())["package"]
    entry: dict[str, Any] = next(package for package in packages if package["name"] == "uv")
    return entry


def cache_dir() -> Path:
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "kubernaut"


def wheel_for_this_machine(entry: dict[str, Any]) -> dict[str, Any]:
    system = {"Linux": "manylinux", "Darwin": "macosx"}.get(platform.system(), "?")
    machine = {"aarch64": "aarch64", "arm64": "arm64"}.get(platform.machine(), platform.machine())
    musl = platform.system() == "Linux" and platform.libc_ver()[0] != "glibc"
    wanted = "musllinux" if musl else system
    for wheel in entry["wheels"]:
        name = wheel["url"].rsplit("/", 1)[1]
        if wanted in name and machine in name:
            return dict(wheel)
    fail(f"no uv for {platform.system()} on {platform.machine()}; install uv, then try again")


def unpack(wheel: bytes, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(BytesIO(wheel)) as archive:
        member = next(name for name in archive.namelist() if name.endswith("/scripts/uv"))
        partial = target.with_name(f"{target.name}.{os.getpid()}")
        partial.write_bytes(archive.read(member))
    partial.chmod(0o755)
    partial.replace(target)  # A half-written uv never has the final name.


def fetch(wheel: dict[str, Any]) -> bytes:
    try:
        with urllib.request.urlopen(wheel["url"], timeout=120) as answer:
            content: bytes = answer.read()
    except (urllib.error.URLError, OSError) as error:
        fail(f"uv could not be fetched ({error}); install uv or pip, then try again")
    if f"sha256:{hashlib.sha256(content).hexdigest()}" != wheel["hash"]:
        fail("the uv that was fetched does not have the hash in uv.lock; nothing was installed")
    return content


def with_pip(entry: dict[str, Any], target: Path) -> bool:
    """True if pip (which knows the user's own index and proxy settings) brought uv."""
    scratch = target.parent / f"pip.{os.getpid()}"
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps"]
    command += ["--only-binary=:all:", "--dest", str(scratch), f"uv=={entry['version']}"]
    try:
        if subprocess.run(command, check=False, capture_output=True).returncode:
            return False
        unpack(next(scratch.glob("uv-*.whl")).read_bytes(), target)
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    return True


def find_uv() -> str:
    if found := shutil.which("uv"):
        return found
    entry = locked_uv()
    target = cache_dir() / "tools" / f"uv-{entry['version']}"
    if not target.exists():
        say(f"getting uv {entry['version']} (kept in {target.parent})")
        if not with_pip(entry, target):
            unpack(fetch(wheel_for_this_machine(entry)), target)
    return str(target)


def main() -> None:
    if VENV.exists() and not os.access(VENV, os.W_OK):
        fail(f"{VENV} belongs to another user; remove it or use a clone of your own")
    environment = os.environ | {"UV_PYTHON_DOWNLOADS": "never", "UV_PROJECT_ENVIRONMENT": str(VENV)}
    environment.pop("VIRTUAL_ENV", None)
    say(f"installing the locked packages into {VENV}")
    # Compiled: every process that the tests start would do it again where nothing may be written.
    command = [find_uv(), "sync", "--frozen", "--all-extras", "--compile-bytecode"]
    command += ["--python", sys.executable]
    if subprocess.run(command, check=False, cwd=ROOT, env=environment).returncode:
        fail("uv could not install the packages; its message is above")
    (VENV / ".installed").touch()


if __name__ == "__main__":
    main()
