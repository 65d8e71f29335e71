"""What the disk can hold if the power goes in the middle of a recorded run.

The model is that of `test.faults.disk`.
"""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

from test.faults.disk import Choice, Disk
from test.faults.operations import Told
from test.faults.storage import Run


@dataclass(frozen=True, slots=True)
class DiskState:
    """One content of the disk, and what had been told when the power went.

    `after` operations were done; `how` says what was chosen of that which was not durable.
    """

    after: int
    told: tuple[bytes, ...]
    how: str
    files: dict[str, bytes] = field(repr=False)
    directories: tuple[str, ...] = ()

    def materialise(self, target: Path) -> Path:
        """Write it into a directory that is new or empty, and return that."""
        target.mkdir(parents=True, exist_ok=True)
        for directory in self.directories:
            (target / directory).mkdir()
        for path, content in self.files.items():
            (target / path).write_bytes(content)
        return target


def power_loss_states(run: Run, *, seed: int = 0, samples: int = 4) -> Iterator[DiskState]:
    """What the disk can hold if the power goes before each operation, and at the end.

    At each point: nothing of what is not durable, all of it, all names without their content, and
    `samples` random choices, of whole writes and of sectors in turn. What was told up to there is
    all that can be. A state that was there before with as much told is left out.

    Args:
        run: ran to its end, or was killed.
        seed: the same seed gives the same states.
        samples: random states at each point.
    """
    disk = Disk(run)
    told: list[bytes] = []
    seen: set[bytes] = set()
    random = Random(seed)  # noqa: S311  (reproducible, not secret)
    after = 0
    for position, entry in enumerate([*run.log, None]):
        if isinstance(entry, Told):
            told.append(entry.data)
            continue
        for how, name, whole, sector in _choices(random, 0 if disk.settled() else samples):
            files, directories = disk.content(name, whole, sector)
            state = DiskState(after, tuple(told), how, files, directories)
            if (digest := _digest(state)) not in seen:
                seen.add(digest)
                yield state
        if entry is not None:
            disk.apply(entry, position)
            after += 1


def _choices(random: Random, samples: int) -> Iterator[tuple[str, Choice, Choice, Choice]]:
    def maybe() -> bool:
        return random.random() < 0.5

    def yes() -> bool:
        return True

    def no() -> bool:
        return False

    yield "nothing", no, no, no
    if samples:
        yield "everything", yes, yes, yes
        yield "names", yes, no, no
    for sample in range(samples):
        yield (("writes", maybe, maybe, yes) if sample % 2 == 0 else ("sectors", maybe, yes, maybe))


def _digest(state: DiskState) -> bytes:
    digest = hashlib.blake2b(repr((len(state.told), state.directories)).encode(), digest_size=16)
    for path, content in state.files.items():
        digest.update(repr((path, len(content))).encode())
        digest.update(content)
    return digest.digest()
