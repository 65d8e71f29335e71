"""Programs as their projects publish them, checked against the checksum published beside them."""

import hashlib
import http.client
import os
import queue
import shutil
import tarfile
import threading
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeVar

from kubernaut.local.cluster._cache import Report
from kubernaut.local.cluster._module import ETCD, KUBERNETES, KWOK, Module, Program, architecture

T = TypeVar("T")

VARIABLE: Final = "KUBERNAUT_RELEASES_URL"
"""Stands for `https://` in the addresses, for a mirror; empty says that nothing is downloaded."""

_ANSWER_SECONDS: Final = 5.0  # Resolving the name, too.
_SILENCE_SECONDS: Final = 20.0
_CHUNK: Final = 1 << 20
_CHECKSUM_BYTES: Final = 1 << 16


class NotReleasedError(Exception):
    """A program cannot be had this way; the text says why."""


class UnreachableError(NotReleasedError):
    """Nor can any other, because there is no answer."""


@dataclass(frozen=True)
class Release:
    """Where a program is: itself or inside an archive, and the list that has its SHA-256."""

    url: str
    checksums: str
    member: str = ""


def release_of(program: Program, module: Module) -> Release | None:
    """Where a program is published, without `https://`; None where its project publishes none."""
    arch = architecture()
    match program.name:
        case "etcd":
            tag = f"v{module.version(ETCD)}"
            base = f"github.com/etcd-io/etcd/releases/download/{tag}"
            name = f"etcd-{tag}-linux-{arch}"
            return Release(f"{base}/{name}.tar.gz", f"{base}/SHA256SUMS", f"{name}/etcd")
        case "kube-apiserver" | "kube-controller-manager" | "kube-scheduler":
            base = f"dl.k8s.io/release/v{module.version(KUBERNETES)}/bin/linux/{arch}"
            return Release(f"{base}/{program.name}", f"{base}/{program.name}.sha256")
        case "kwok":
            tag = f"v{module.version(KWOK)}"
            base = f"github.com/kubernetes-sigs/kwok/releases/download/{tag}"
            return Release(f"{base}/kwok-linux-{arch}", f"{base}/kwok-linux-{arch}.sha256")
        case _:
            return None


class Releases:
    """Downloads programs.

    Args:
        module: what names their versions.
        base: stands for `https://`.
        report: told what is fetched.
    """

    def __init__(self, module: Module, base: str, report: Report) -> None:
        self._module = module
        self._base = base
        self._report = report

    @classmethod
    def configured(cls, module: Module, report: Report) -> "Releases | None":
        """As the environment says; None if nothing is to be downloaded."""
        base = os.environ.get(VARIABLE, "https://")
        if base and not base.endswith("/"):
            base += "/"
        return cls(module, base, report) if base else None

    def fetch(self, program: Program, scratch: Path) -> Path:
        """Download a program into a folder.

        Raises:
            NotReleasedError: it is not published, cannot be reached, was cut off, or its bytes are
                not those of the checksum. Nothing of it is left in the folder.
        """
        release = release_of(program, self._module)
        if release is None:
            raise NotReleasedError("its project publishes no program")
        target = scratch / f"{program.name}.download"
        try:
            expected = self._checksum(release)
            digest = self._download(program.name, release, target)
            if digest != expected:
                raise NotReleasedError(
                    f"{self._base}{release.url} has SHA-256 {digest}, published is {expected}"
                )
            return _unpacked(target, release.member, scratch / program.name)
        except (OSError, http.client.HTTPException, tarfile.TarError, EOFError) as error:
            raise NotReleasedError(f"{self._base}{release.url}: {error}") from error
        finally:
            target.unlink(missing_ok=True)

    def _checksum(self, release: Release) -> str:
        with self._open(release.checksums) as answer:
            text = answer.read(_CHECKSUM_BYTES).decode("ascii", "replace")
        name = release.url.rpartition("/")[2]
        for line in text.splitlines():
            words = line.split()
            if words and words[-1].lstrip("*").rpartition("/")[2] in {name, words[0]}:
                return words[0].lower()
        raise NotReleasedError(f"{self._base}{release.checksums} has no checksum for {name}")

    def _download(self, name: str, release: Release, target: Path) -> str:
        digest = hashlib.sha256()
        with self._open(release.url) as answer, target.open("wb") as file:
            size = int(answer.headers.get("Content-Length") or 0)
            self._report(f"downloading {name}" + (f" ({size / 1e6:.0f} MB)" if size else ""))
            got = 0
            while chunk := answer.read(_CHUNK):
                got += len(chunk)
                digest.update(chunk)
                file.write(chunk)
        if size and got != size:
            raise NotReleasedError(f"{self._base}{release.url} ended after {got} of {size} bytes")
        return digest.hexdigest()

    def _open(self, path: str) -> http.client.HTTPResponse:
        url = self._base + path
        request = urllib.request.Request(url, headers={"User-Agent": "kubernaut"})  # noqa: S310  (https, or the user's own mirror)

        def ask() -> http.client.HTTPResponse:
            answer: http.client.HTTPResponse = urllib.request.urlopen(  # noqa: S310  (as above)
                request, timeout=_SILENCE_SECONDS
            )
            return answer

        try:
            return _within(_ANSWER_SECONDS, ask)
        except urllib.error.HTTPError as error:
            error.close()
            raise NotReleasedError(f"{url} answers {error.code}") from error
        except (OSError, http.client.HTTPException) as error:
            reason = error.reason if isinstance(error, urllib.error.URLError) else error
            raise UnreachableError(f"{url} cannot be reached: {reason}") from error


def _within(seconds: float, ask: Callable[[], T]) -> T:
    """What `ask` returns. No timeout of a socket covers the resolver, which can take a minute.

    Raises:
        TimeoutError: it took longer; it goes on in a thread that holds nothing up.
    """
    outcome: queue.SimpleQueue[tuple[T | None, Exception | None]] = queue.SimpleQueue()

    def run() -> None:
        try:
            outcome.put((ask(), None))
        except Exception as error:  # noqa: BLE001  (raised below)
            outcome.put((None, error))

    threading.Thread(target=run, name="asks for a release", daemon=True).start()
    try:
        value, error = outcome.get(timeout=seconds)
    except queue.Empty:
        raise TimeoutError(f"no answer within {seconds:g} s") from None
    if error is not None:
        raise error
    assert value is not None  # noqa: S101  (an answer or an error)
    return value


def _unpacked(download: Path, member: str, target: Path) -> Path:
    if not member:
        return download.rename(target)
    with tarfile.open(download) as archive:
        content = archive.extractfile(member)
        if content is None:
            raise NotReleasedError(f"{download.name} has no file {member}")
        with content, target.open("wb") as file:
            shutil.copyfileobj(content, file)
    return target
