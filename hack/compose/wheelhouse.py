"""The packages of the images, gathered on this machine, for builds that reach no registry.

They come from whatever index pip here is set up for. The build checks each against uv.lock.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import tomllib
from pathlib import Path
from typing import Final

from podman import BIN, CACHE, ROOT, import_image, keep_only, quiet, say, succeeds

_PYTHON: Final = "3.13"  # Of the base image: Containerfile, bases.py.
_GLIBC: Final = 41  # Of Debian 13, as 2.41.
_EXTRAS: Final = ("--extra", "datastorage", "--extra", "workflowexecution", "--group", "image")


def prepare() -> str:
    """The name of an image whose root has the wheels."""
    lock = (ROOT / "uv.lock").read_bytes()
    target = repr((_PYTHON, _GLIBC, _EXTRAS, platform.machine()))
    key = hashlib.sha256(lock + target.encode()).hexdigest()[:12]
    name = f"localhost/kubernaut-wheelhouse:{key}"
    if succeeds("podman", "image", "exists", name):
        return name
    archive = CACHE / f"wheels-{key}.tar"
    if not archive.exists():
        say("gathering the packages of the images")
        wheels = CACHE / f"wheels-{key}"
        wheels.mkdir(parents=True, exist_ok=True)
        _download(tomllib.loads(lock.decode()), wheels)
        _pack(wheels, archive)
        shutil.rmtree(wheels)
    import_image(archive, name)
    return name


def _download(lock: dict[str, object], wheels: Path) -> None:
    uv = next(one["version"] for one in lock["package"] if one["name"] == "uv")  # type: ignore[attr-defined]
    locked = quiet(
        BIN / "uv", "export", "--frozen", "--no-default-groups", "--no-emit-project", "--no-hashes",
        *_EXTRAS, cwd=ROOT,
    )  # fmt: skip
    # pip evaluates conditions such as `python_version < "3.13"` for itself, so they must be gone.
    resolved = quiet(
        BIN / "uv", "pip", "compile", "--no-deps", "--no-header", "--no-annotate", "-",
        "--python-version", _PYTHON, "--python-platform", f"{platform.machine()}-manylinux_2_40",
        input=f"{locked}\nuv=={uv}\n",
        cwd=wheels,
    )  # fmt: skip
    wanted = wheels / "requirements.txt"
    wanted.write_text(resolved)
    platforms = [f"manylinux_2_{minor}" for minor in range(_GLIBC, 16, -1)] + ["manylinux2014"]
    options = [f"--platform={each}_{platform.machine()}" for each in platforms]
    quiet(
        BIN / "uv", "run", "--no-project", "--isolated", "--with", "pip", "python", "-m", "pip",
        "download", "--quiet", "--no-deps", "--only-binary=:all:", "--dest", wheels,
        f"--python-version={_PYTHON}", "--implementation=cp", *options, "-r", wanted,
        cwd=wheels,
    )  # fmt: skip
    wanted.unlink()
    expected = len(re.findall(r"^[\w.-]+==", resolved, re.MULTILINE))
    say(f"{len(list(wheels.glob('*.whl')))} of {expected} packages are there")


def _pack(folder: Path, archive: Path) -> None:
    partial = archive.with_suffix(".partial")
    quiet("tar", "--create", "--file", partial, "--directory", folder, ".")
    partial.rename(archive)
    keep_only(archive)
