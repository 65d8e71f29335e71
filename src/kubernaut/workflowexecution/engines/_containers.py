"""Parts of `core/v1.ContainerStatus`, as pods and Tekton's steps have them, and what they tell."""

from datetime import datetime
from typing import Final

import msgspec

_NEVER_STARTED: Final = ("StartError", "ContainerCannotRun", "ContainerStatusUnknown")
_OF_TEKTON: Final = "TaskRun"
"""How reasons begin that Tekton, not the kubelet, writes over the state of a step it ended."""


class Terminated(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """How a container ended."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""
    finished_at: datetime | None = None


class Waiting(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Why a container does not run yet."""

    reason: str = ""
    message: str = ""


class Running(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Since when a container runs."""

    started_at: datetime | None = None


class ContainerState(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """One of three states, or none that is known."""

    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None

    @property
    def ended(self) -> Terminated | None:
        """How the container ended by itself; None where it did not, or was ended by Tekton.

        Tekton gives a step that it ends the exit code 1, whether the step ran or not.
        """
        if self.terminated is None or self.terminated.reason.startswith(_OF_TEKTON):
            return None
        return self.terminated

    @property
    def ran(self) -> bool:
        """Whether it shows that the container's program was started."""
        if self.running is not None:
            return True
        return self.ended is not None and self.ended.reason not in _NEVER_STARTED


def described(ended: Terminated) -> str:
    """How a container ended, for people: `exited with code 1: Error: disk full`."""
    said = ended.message.strip()
    if said.startswith("[{"):  # What Tekton's entrypoint notes there, and no words.
        said = ""
    words = [f"exited with code {ended.exit_code}", ended.reason, said]
    return ": ".join(word for word in words if word)
