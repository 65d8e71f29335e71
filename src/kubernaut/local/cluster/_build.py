"""Build programs of the Go module, with all that Go downloads and compiles in one folder."""

import json
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import yaml

from kubernaut.local import _launch
from kubernaut.local._errors import LocalServerError
from kubernaut.local.cluster._cache import Report
from kubernaut.local.cluster._module import Module, Program, link_flags

_REPORT_SECONDS: Final = 30.0
_LINES_SHOWN: Final = 8


class Builder:
    """Runs `go build`.

    Args:
        module: what to build.
        go: the toolchain.
        folder: for Go's caches; what is there from an earlier build is used again.
        report: told how far it is.
    """

    def __init__(self, module: Module, go: Path, folder: Path, report: Report) -> None:
        self._module = module
        self._go = go
        self._report = report
        self._environment = self._environment_for(folder)

    def build(self, program: Program, scratch: Path) -> Sequence[Path]:
        """Make all the files of a program, in the order of `program.files`.

        Raises:
            LocalServerError: it does not build; the text ends with what Go said.
        """
        self._report(
            f"building {program.name}: {_about(program.minutes)} on 2 cores when nothing is cached"
        )
        begun = time.monotonic()
        made = []
        if program.packs:
            packed = scratch / f"{program.name}.json"
            packed.write_text(json.dumps(self._configuration(program.packs)))
            made.append(packed)
        target = scratch / program.name
        flags = ["-v", "-ldflags", " ".join(link_flags(self._module)), "-o", str(target)]
        self._run(program.name, ["build", *flags, program.package])
        self._report(f"built {program.name} in {_clock(time.monotonic() - begun)}")
        return (*made, target)

    def _configuration(self, module: str) -> list[Any]:
        """The Kubernetes objects in the `config` folder of a module.

        They are kept as JSON, so that a run needs neither Go nor the module.
        """
        self._run(module, ["mod", "download", module])
        said = subprocess.run(  # noqa: S603  (our own command)
            [self._go, "list", "-m", "-f", "{{.Dir}}", module],
            check=False,
            capture_output=True,
            text=True,
            cwd=self._module.directory,
            env=self._environment,
        )
        config = Path(said.stdout.strip()) / "config"
        if said.returncode or not config.is_dir():
            raise LocalServerError(f"{module} has no folder `config`: {said.stderr.strip()}")
        return [
            document
            for path in sorted(config.rglob("*.yaml"))
            for document in yaml.safe_load_all(path.read_text())
            if isinstance(document, dict)
        ]

    def _run(self, what: str, arguments: Sequence[str]) -> None:
        """Run Go; it ends when we do, also by SIGKILL, and nothing of it stays behind."""
        launch = [sys.executable, "-I", "-S", _launch.__file__, str(os.getpid())]
        launch += [str(int(signal.SIGTERM)), "-1", "-1", str(self._go), *arguments]
        process = subprocess.Popen(  # noqa: S603  (our own command)
            launch,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            cwd=self._module.directory,
            env=self._environment,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        try:
            last = self._follow(what, process)
            code = process.wait()
        except BaseException:  # Ctrl-C too.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            raise
        if code:
            said = " | ".join(line for line in last if line) or f"exit code {code}"
            raise LocalServerError(f"{what} does not build: {said}")

    def _follow(self, what: str, process: "subprocess.Popen[str]") -> Sequence[str]:
        """Read what Go says until its end: `-v` names each package when it is compiled."""
        assert process.stderr is not None  # noqa: S101  (a pipe was asked for)
        last: deque[str] = deque(maxlen=_LINES_SHOWN)
        begun = told = time.monotonic()
        lines = 0
        with process.stderr:
            for line in process.stderr:
                last.append(line.strip())
                lines += 1
                if time.monotonic() - told > _REPORT_SECONDS:
                    told = time.monotonic()
                    self._report(f"building {what}: {_clock(told - begun)}, {lines} packages done")
        return last

    def _environment_for(self, folder: Path) -> dict[str, str]:
        mine = {
            "CGO_ENABLED": "0",
            "GOCACHE": str(folder / "compiled"),
            "GOENV": os.environ.get("GOENV", ""),
            "GOFLAGS": "-mod=readonly -trimpath -modcacherw -buildvcs=false",
            "GOMODCACHE": str(folder / "modules"),
            "GOTOOLCHAIN": "local",
            "GOWORK": "off",
        }
        kept = {name: value for name, value in os.environ.items() if name not in mine}
        for name in ("GOOS", "GOARCH", "GOEXPERIMENT", "GODEBUG"):  # It must run here.
            kept.pop(name, None)
        (folder / "temporary").mkdir(parents=True, exist_ok=True)
        environment = kept | {name: value for name, value in mine.items() if value}
        # What the user's own module cache holds need not be downloaded again.
        asked = subprocess.run(  # noqa: S603  (our own command)
            [self._go, "env", "GOMODCACHE", "GOPROXY"],
            check=False,
            capture_output=True,
            text=True,
            env=dict(os.environ),
        )
        if asked.returncode == 0:
            modules, proxy = [*asked.stdout.splitlines(), "", ""][:2]
            downloaded = Path(modules) / "cache" / "download"
            if modules and downloaded.is_dir():
                environment["GOPROXY"] = f"{downloaded.as_uri()},{proxy}".rstrip(",")
        return environment | {"GOTMPDIR": str(folder / "temporary")}


def _about(minutes: float) -> str:
    return f"about {minutes:g} minutes" if minutes >= 1 else f"about {minutes * 60:.0f} seconds"


def _clock(seconds: float) -> str:
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
