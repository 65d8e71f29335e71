"""The base images: from their registry, or made of Debian's packages where it cannot be reached.

What is made has the names that Containerfile and podman-compose.test.yml use, and what those need
of the originals, not more. The archives stay in the cache, by a key that follows from how they are
made.
"""

from __future__ import annotations

import hashlib
import inspect
import os
import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from podman import CACHE, fail, import_image, keep_only, pulled, quiet, require, say, succeeds

_SUITE: Final = "trixie"  # Debian 13: Python 3.13, PostgreSQL 17.
_KEY: Final = "ai.kubernaut.recipe"
_HERE: Final = Path(__file__).parent
_PACKAGES: Final = CACHE / "debian"  # While images are made; they share most packages.
_NOT_NEEDED: Final = (
    "usr/share/doc", "usr/share/info", "usr/share/locale", "usr/share/man",
    "var/cache/apt", "var/cache/debconf", "var/lib/apt/lists", "var/log",
)  # fmt: skip


@dataclass(frozen=True)
class Base:
    """One base image.

    Attributes:
        name: by which it is used.
        packages: of Debian, beside the minimal system.
        changes: what the image says of itself, as instructions of a Containerfile.
        finish: given the root file system, adds what is no package's.
    """

    name: str
    packages: tuple[str, ...]
    changes: tuple[str, ...]
    finish: Callable[[Path], None]

    @property
    def key(self) -> str:
        """Changes when the image has to be made anew."""
        entrypoint = (_HERE / "postgres-entrypoint").read_text()
        recipe = (_SUITE, _NOT_NEEDED, self.name, self.packages, self.changes, entrypoint)
        return hashlib.sha256(repr((recipe, inspect.getsource(self.finish))).encode()).hexdigest()[
            :12
        ]


def _finish_python(root: Path) -> None:
    for name in ("python", "python3"):
        (root / "usr/local/bin" / name).symlink_to("/usr/bin/python3")


def _finish_postgres(root: Path) -> None:
    shutil.copy(_HERE / "postgres-entrypoint", root / "usr/local/bin/docker-entrypoint.sh")
    # A cluster that the package made, and the compiler of queries, a third of the whole.
    for folder in ("var/lib/postgresql/17", "etc/postgresql/17"):
        shutil.rmtree(root / folder, ignore_errors=True)
    for file in (root / "usr/lib").glob("*/libLLVM*"):
        file.unlink()
    for file in (root / "usr/lib/postgresql").glob("*/lib/llvmjit*"):
        shutil.rmtree(file) if file.is_dir() else file.unlink()


BASES: Final = (
    Base(
        "docker.io/library/python:3.13-slim-trixie",
        ("python3", "python3-venv"),
        ('CMD ["python3"]',),
        _finish_python,
    ),
    Base(
        "docker.io/library/postgres:17-trixie",
        ("postgresql-17",),
        (
            "ENV PATH=/usr/lib/postgresql/17/bin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
            "ENV PGDATA=/var/lib/postgresql/data",
            'ENTRYPOINT ["docker-entrypoint.sh"]',
            'CMD ["postgres"]',
            "EXPOSE 5432",
            "STOPSIGNAL SIGINT",
        ),
        _finish_postgres,
    ),
)


def prepare() -> None:
    """Have every base image, whichever way."""
    for base in BASES:
        if not _is_there(base):
            if pulled(base.name):
                continue
            say(f"{base.name} cannot be had from its registry; it is made of Debian's packages")
            import_image(_archive(base), base.name, [*base.changes, f"LABEL {_KEY}={base.key}"])
    shutil.rmtree(_PACKAGES, ignore_errors=True)


def _is_there(base: Base) -> bool:
    """Whether there is the original, or one that was made in this way."""
    if not succeeds("podman", "image", "exists", base.name):
        return False
    label = f'{{{{index .Config.Labels "{_KEY}"}}}}'
    made_by = quiet("podman", "image", "inspect", "--format", label, base.name, check=False)
    return made_by in {"", "<no value>", base.key}


def _archive(base: Base) -> Path:
    name = base.name.rsplit("/", 1)[1].partition(":")[0]
    archive = CACHE / f"{name}-{base.key}.tar.gz"
    if archive.exists():
        return archive
    if os.geteuid():
        fail("only root can make base images; run it as root, or where the registry is reached")
    require("debootstrap")
    _PACKAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=CACHE, ignore_cleanup_errors=True) as folder:
        root = Path(folder) / "root"
        # What it mounts below the root is never seen outside, so that no clean-up can meet it.
        quiet(
            "unshare", "--mount", "debootstrap", "--variant=minbase", f"--cache-dir={_PACKAGES}",
            f"--include={','.join(base.packages)}", _SUITE, root,
        )  # fmt: skip
        for unneeded in _NOT_NEEDED:
            shutil.rmtree(root / unneeded, ignore_errors=True)
        (root / "var/log").mkdir()
        base.finish(root)
        partial = Path(folder) / archive.name
        quiet("tar", "--create", "--gzip", "--file", partial, "--directory", root, ".")
        partial.rename(archive)  # An archive that has its name is whole.
    keep_only(archive)
    return archive
