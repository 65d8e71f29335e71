"""Get the control plane's programs: from a folder of the user's, the cache, a release, or Go."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from kubernaut.local._errors import LocalServerError
from kubernaut.local.cluster._build import Builder
from kubernaut.local.cluster._cache import Cache, Report, default_cache, find_in
from kubernaut.local.cluster._go import find_go
from kubernaut.local.cluster._module import PROGRAMS, Module, Program
from kubernaut.local.cluster._releases import NotReleasedError, Releases, UnreachableError

ASSETS: Final = "KUBEBUILDER_ASSETS"
BUILD_CACHE: Final = "KUBERNAUT_BUILD_CACHE"

_FOR_TEKTON: Final = ("tekton", "registry")


def say_nothing(_line: str) -> None:
    """A report for those who want none."""


class Programs:
    """Finds programs, and makes what is missing.

    For each program the first of these that has it: the folder `$KUBEBUILDER_ASSETS`, the cache,
    the release of its project, a build of the Go module. What was downloaded or built is cached.

    Args:
        cache: where to keep them; default: `~/.cache/kubernaut/controlplane`.
        build_cache: where to keep Go's own caches; by default they are removed after the build.
            `$KUBERNAUT_BUILD_CACHE` says it too.
        report: told which way is taken and why, and how far it is.
        module: another Go module than this project's.
        known: the programs in it.
    """

    def __init__(
        self,
        *,
        cache: Path | None = None,
        build_cache: Path | None = None,
        report: Report = say_nothing,
        module: Module | None = None,
        known: Sequence[Program] = PROGRAMS,
    ) -> None:
        self._module = module or Module.ours()
        self._known = known
        self._report = report
        self._cache = Cache(cache or default_cache(), self._module.key)
        kept = os.environ.get(BUILD_CACHE, "")
        self._build_cache = build_cache or (Path(kept) if kept else None)

    @property
    def directory(self) -> Path:
        """Where they are cached."""
        return self._cache.directory

    def names(self, *, tekton: bool) -> Sequence[str]:
        """All that a cluster can need, with or without Tekton."""
        return [one.name for one in self._known if tekton or one.name not in _FOR_TEKTON]

    def obtain(self, names: Sequence[str]) -> Mapping[str, Path]:
        """The paths of programs, which are made if they are nowhere.

        Raises:
            LocalServerError: one cannot be had in any way.
        """
        wanted = [program for program in self._known if program.name in names]
        if unknown := set(names) - {program.name for program in wanted}:
            raise LocalServerError(f"there is no program {', '.join(sorted(unknown))}")
        found, missing = self._present(wanted)
        if missing:
            with self._cache.only_one(self._report) as scratch:
                found, missing = self._present(wanted)  # Another process may have made them.
                for program in self._released(missing, scratch):
                    missing.remove(program)
                if missing:
                    self._build(missing, scratch)
            found, missing = self._present(wanted)
        if missing:
            raise LocalServerError(f"{missing[0].name} has vanished from {self.directory}")
        return found

    def _present(self, wanted: Sequence[Program]) -> tuple[dict[str, Path], list[Program]]:
        """Those that are there, and those that are not."""
        assets = os.environ.get(ASSETS, "")
        if assets and not Path(assets).is_dir():
            raise LocalServerError(f"{ASSETS} names {assets}, which is not a directory")
        found: dict[str, Path] = {}
        missing: list[Program] = []
        for program in wanted:
            own = find_in(Path(assets), program) if assets else None
            if path := own or self._cache.find(program):
                found[program.name] = path
            else:
                missing.append(program)
        return found, missing

    def _released(self, missing: Sequence[Program], scratch: Path) -> list[Program]:
        """Those that could be downloaded."""
        releases = Releases.configured(self._module, self._report)
        if releases is None:
            return []
        got = []
        for program in missing:
            try:
                file = releases.fetch(program, scratch)
            except NotReleasedError as error:
                self._report(f"no release of {program.name}: {error}")
                if isinstance(error, UnreachableError):
                    break
            else:
                self._cache.keep(file, program.name)
                got.append(program)
        return got

    def _build(self, missing: Sequence[Program], scratch: Path) -> None:
        minutes = sum(program.minutes for program in missing)
        names = ", ".join(program.name for program in missing)
        self._report(
            f"not in {self.directory}: {names}; building from {self._module.directory}, "
            f"{minutes:.0f} minutes or more on 2 cores, once"
        )
        go = find_go(self._module.oldest_go, scratch, self._report)
        builder = Builder(
            self._module, go, self._build_cache or scratch / "go-caches", self._report
        )
        for program in missing:
            made = builder.build(program, scratch)
            for file in made:
                self._cache.keep(file, file.name)
