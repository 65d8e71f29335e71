"""Follow WorkflowExecutions: each change of a phase or a condition as a line, as it comes."""

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable, Collection, Sequence
from contextlib import aclosing
from datetime import datetime
from typing import Final

from kubernaut.cli import _wfe_show as show
from kubernaut.cli._failure import tell
from kubernaut.cli._printable import printable
from kubernaut.kubernetes import Change, Client, Condition, Reflector, Store
from kubernaut.workflowexecution import WORKFLOW_EXECUTIONS, WorkflowExecution

_KERNEL: Final = "kubernaut.kubernetes"

Seen = Change[WorkflowExecution]


class _Warnings(logging.Handler):
    """What the watch complains about, as everything else that a command says."""

    def emit(self, record: logging.LogRecord) -> None:
        tell(record.getMessage())


async def changes(
    client: Client, namespace: str | None, name: str | None = None, look: float | None = None
) -> AsyncGenerator[Seen | None, None]:
    """What there is, and then each change, until it is closed.

    Connections that are lost are made again, and nothing that is still so is missed.

    Args:
        client: of the cluster.
        namespace: None for all.
        name: of the one that is wanted; None for all.
        look: seconds after which None comes if nothing else did; None for never.
    """
    reflector = Reflector(
        client,
        WORKFLOW_EXECUTIONS,
        Store[WorkflowExecution](),
        namespace=namespace,
        field_selector=f"metadata.name={name}" if name else None,
    )
    came: asyncio.Queue[Seen] = asyncio.Queue()
    reflector.add_handler(came.put_nowait)
    watching = asyncio.create_task(reflector.run())
    logger, handler = logging.getLogger(_KERNEL), _Warnings(logging.WARNING)
    logger.addHandler(handler)
    try:
        while True:
            try:
                async with asyncio.timeout(look):
                    change = await came.get()
            except TimeoutError:
                yield None
            else:
                yield change
    finally:
        logger.removeHandler(handler)
        watching.cancel()
        await asyncio.wait({watching})


class Follower:
    """Tells what changes.

    Args:
        say: told line by line.
        with_namespace: name objects with their namespace.
    """

    def __init__(self, say: Callable[[str], object], *, with_namespace: bool = False) -> None:
        self._say = say
        self._with_namespace = with_namespace
        self._known: dict[str, WorkflowExecution] = {}

    def see(self, change: Seen) -> None:
        """Tell what changed."""
        wfe = change.new
        if wfe is None:
            self._known.pop(change.key, None)
            self._line(change.key, "deleted")
            return
        before = self._known.get(change.key)
        self._known[change.key] = wfe
        old: Sequence[Condition] = ()
        if before is not None and before.metadata.uid == wfe.metadata.uid:
            old = before.status.conditions
        if before is None or before.phase != wfe.phase:
            self._line(change.key, _phase_text(wfe))
        told = {(one.type, one.status, one.reason) for one in old}
        for condition in wfe.status.conditions:
            if (condition.type, condition.status, condition.reason) not in told:
                self._line(change.key, show.condition_text(condition))

    def _line(self, key: str, text: str) -> None:
        name = key if self._with_namespace else key.rpartition("/")[2]
        self._say(printable(f"{datetime.now().astimezone():%H:%M:%S}  {name}  {text}"))


def _phase_text(wfe: WorkflowExecution) -> str:
    status = wfe.status
    match wfe.phase:
        case "Running" if status.execution_ref:
            return f"Running as {status.execution_ref.name}"
        case "Completed":
            return f"Completed in {status.duration}" if status.duration else "Completed"
        case "Failed":
            return f"Failed, {show.failure_text(wfe)}"
    return wfe.phase


async def follow_to_end(
    client: Client, namespace: str, names: Collection[str], say: Callable[[str], object]
) -> bool:
    """Tell of some of a namespace until all have come to their end; whether all succeeded.

    One that is deleted has come to its end, and did not succeed.
    """
    waiting = set(names)
    follower = Follower(say)
    succeeded = True
    alone = next(iter(waiting)) if len(waiting) == 1 else None
    async with aclosing(changes(client, namespace, alone)) as coming:
        async for change in coming:
            name = "" if change is None else change.key.rpartition("/")[2]
            if change is None or name not in names:
                continue
            follower.see(change)
            if change.new is None or change.new.is_terminal:
                succeeded = succeeded and change.new is not None and change.new.phase != "Failed"
                waiting.discard(name)
            if not waiting:
                break
    return succeeded
