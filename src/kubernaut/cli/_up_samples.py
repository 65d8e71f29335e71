"""The samples of `kubernaut up`: created, shown until they have ended, and their audit trails."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from kubernaut import audit
from kubernaut.cli import _wfe_show as show
from kubernaut.cli._printable import printable
from kubernaut.cli._steps import Steps
from kubernaut.cli._up_install import client_of
from kubernaut.cli._wfe_follow import Follower, Seen, changes
from kubernaut.cli._wfe_manifest import manifest
from kubernaut.cli._wfe_trail import tell_trail
from kubernaut.kubernetes import AlreadyExistsError, ClientConfig, get_condition
from kubernaut.workflowexecution import WORKFLOW_EXECUTIONS, WorkflowExecution

_LOOK_SECONDS: Final = 0.5
_STYLES: Final = {"Completed": "green", "Failed": "red", "Running": "yellow"}


def run_samples(
    config: ClientConfig,
    manifests: Sequence[Mapping[str, Any]],
    steps: Steps,
    check: Callable[[], None],
) -> Sequence[WorkflowExecution]:
    """Create samples, and show them until all have ended and their trails are stored.

    Those of an earlier run stay as they are.

    Args:
        config: of the cluster.
        manifests: the samples.
        steps: shows them.
        check: called now and then; ends the command if something has ended by itself.

    Raises:
        KubernetesError: the API server refuses one, or does not answer.
    """
    return asyncio.run(_run(config, manifests, steps, check))


async def _run(
    config: ClientConfig,
    manifests: Sequence[Mapping[str, Any]],
    steps: Steps,
    check: Callable[[], None],
) -> Sequence[WorkflowExecution]:
    samples = [manifest(one) for one in manifests]
    latest: dict[str, WorkflowExecution | None] = {one.metadata.key: None for one in samples}
    async with client_of(config) as client:
        for sample in samples:
            with suppress(AlreadyExistsError):
                await client.create(WORKFLOW_EXECUTIONS, sample)

        async def follow(see: Callable[[Seen], object]) -> None:
            async with aclosing(changes(client, None, look=_LOOK_SECONDS)) as coming:
                async for change in coming:
                    check()
                    if change is None or change.key not in latest:
                        continue
                    if change.new is None:
                        del latest[change.key]  # Somebody does not want it any more.
                    else:
                        latest[change.key] = change.new
                    see(change)
                    if all(one is not None and _is_done(one) for one in latest.values()):
                        return

        if steps.is_terminal:
            with steps.live() as draw:
                await follow(lambda _: draw(_drawn(latest)))
        else:
            await follow(Follower(steps.say).see)
    return [one for one in latest.values() if one is not None]


def _is_done(wfe: WorkflowExecution) -> bool:
    """Whether it has ended, and what it owes is stored or will never be."""
    recorded = get_condition(wfe.status.conditions, "AuditRecorded")
    refused = recorded is not None and recorded.reason == "AuditFailed"
    return wfe.is_terminal and (show.is_audited(wfe) or refused)


def _drawn(latest: Mapping[str, WorkflowExecution | None]) -> Table:
    table = Table(box=None, pad_edge=False)
    for heading in ("NAME", "PHASE", "CONDITIONS", "REASON"):
        table.add_column(heading, overflow="fold")
    for key, wfe in latest.items():
        if wfe is None:
            table.add_row(key.rpartition("/")[2])
            continue
        table.add_row(
            wfe.metadata.name,
            Text(wfe.phase, style=_STYLES.get(wfe.phase, "")),
            Text(printable(show.conditions_text(wfe))),
            Text(printable(show.short(show.failure_text(wfe)))),
        )
    return table


def tell_trails(url: str, found: Sequence[WorkflowExecution], steps: Steps) -> None:
    """Show the audit trail of each, and whether its chain holds.

    Raises:
        ServerProblemError: DataStorage cannot answer.
        TransportError: DataStorage does not answer.
    """
    with audit.Client(url) as client:
        for wfe in found:
            steps.say()
            outcome: str = wfe.phase
            if show.reason(wfe):
                outcome += f", {show.short(show.failure_text(wfe))}"
            steps.say(printable(f"{wfe.metadata.name}: {outcome}"))
            tell_trail(client, wfe, lambda line: steps.say(f"  {line}"))
