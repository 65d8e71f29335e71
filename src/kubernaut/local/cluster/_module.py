"""The Go module that pins the control plane's programs, and the key under which they are kept."""

import hashlib
import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from kubernaut.local._errors import LocalServerError

_OURS: Final = Path(__file__).parent / "golang"  # A link to hack/controlplane; in a wheel, a copy.
_REQUIRED: Final = re.compile(r"^\s+(\S+) (v\S+)$", re.MULTILINE)
_OLDEST_GO: Final = re.compile(r"^go (\S+)$", re.MULTILINE)
_ARCHITECTURES: Final = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}
_KEY_LENGTH: Final = 12

KUBERNETES: Final = "k8s.io/kubernetes"
ETCD: Final = "go.etcd.io/etcd/server/v3"
KWOK: Final = "sigs.k8s.io/kwok"
TEKTON: Final = "github.com/tektoncd/pipeline"


@dataclass(frozen=True)
class Program:
    """A program of the control plane.

    `minutes` is what its build takes on 2 cores after those that are listed before it.
    `packs` names a module whose `config` folder is kept beside the program, as `<name>.json`.
    """

    name: str
    package: str
    minutes: float
    packs: str = ""

    @property
    def files(self) -> tuple[str, ...]:
        """The names of all it needs, the program last."""
        return (f"{self.name}.json", self.name) if self.packs else (self.name,)


PROGRAMS: Final = (
    Program("etcd", "./etcd", 2),
    Program("kube-apiserver", f"{KUBERNETES}/cmd/kube-apiserver", 10),
    Program("kube-controller-manager", f"{KUBERNETES}/cmd/kube-controller-manager", 3),
    Program("kube-scheduler", f"{KUBERNETES}/cmd/kube-scheduler", 0.3),
    Program("kwok", f"{KWOK}/cmd/kwok", 0.5),
    Program("tekton", "./tekton", 3, packs=TEKTON),
    Program("registry", "github.com/google/go-containerregistry/cmd/registry", 0.1),
)
"""All of them, in the order in which a build shares most."""


class Module:
    """A Go module on disk.

    Raises:
        LocalServerError: it is not there, or not whole.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        try:
            mod = (directory / "go.mod").read_text()
            sources = [directory / "go.sum", *sorted(directory.rglob("*.go"))]
            digest = hashlib.sha256(mod.encode())
            for source in sources:
                digest.update(source.read_bytes())
        except OSError as error:
            raise LocalServerError(
                f"the Go module in {directory} cannot be read: {error}"
            ) from error
        oldest = _OLDEST_GO.search(mod)
        if oldest is None:
            raise LocalServerError(f"{directory / 'go.mod'} names no version of Go")
        self.oldest_go = oldest[1]
        self._versions = dict(_REQUIRED.findall(mod))
        for part in ("linux", architecture(), *link_flags(self)):
            digest.update(part.encode())
        self._digest = digest.hexdigest()[:_KEY_LENGTH]

    @classmethod
    def ours(cls) -> "Module":
        """The one of this project, which is installed with it."""
        return cls(_OURS.resolve())

    def version(self, module: str) -> str:
        """The version of a required module, without its `v`; empty where it is not required."""
        version: str = self._versions.get(module, "v")
        return version.removeprefix("v")

    @property
    def key(self) -> str:
        """Changes with every version, checksum, source line, build flag and platform."""
        kubernetes = self.version(KUBERNETES) or "0"
        return f"{kubernetes}-linux-{architecture()}-{self._digest}"


def architecture() -> str:
    """This machine's, as Go names it.

    Raises:
        LocalServerError: nothing of this runs here.
    """
    machine = platform.machine().lower()
    try:
        return _ARCHITECTURES[machine]
    except KeyError:
        raise LocalServerError(
            f"there is no local control plane for machines of {machine}"
        ) from None


def link_flags(module: Module) -> Sequence[str]:
    """What the linker is told: no debug tables, and the version that `GET /version` shows."""
    version = module.version(KUBERNETES)
    if not version:
        return ("-s", "-w")
    major, minor, _ = version.split(".", 2)
    facts = {
        "gitVersion": f"v{version}",
        "gitMajor": major,
        "gitMinor": minor,
        "gitTreeState": "clean",
    }
    settings = [f"-X=k8s.io/component-base/version.{name}={fact}" for name, fact in facts.items()]
    return ("-s", "-w", *settings)
