"""`kubernaut wfe watch`: each change as it comes, to the end of those that were named."""

from collections.abc import Sequence
from contextlib import aclosing

import typer

from kubernaut.cli._failure import FAILED
from kubernaut.cli._wfe_cluster import Where, ask, everything, read
from kubernaut.cli._wfe_follow import Follower, changes, follow_to_end
from kubernaut.kubernetes import Client


def watch(where: Where, namespace: str | None, names: Sequence[str]) -> None:
    """Follow those that are named to their end; or all there are, until Ctrl-C.

    Exit code 1 if one that was named failed or was deleted.
    """

    async def following(client: Client) -> bool:
        if namespace is None or not names:
            await _follow_all(client, namespace)
            return True
        for name in names:
            await read(client, name, namespace)
        return await follow_to_end(client, namespace, names, typer.echo)

    if not ask(where, following, interrupted=0):
        raise typer.Exit(FAILED)


async def _follow_all(client: Client, namespace: str | None) -> None:
    await everything(client, namespace, limit=1)  # What forbids it ends the command here.
    follower = Follower(typer.echo, with_namespace=namespace is None)
    async with aclosing(changes(client, namespace)) as coming:
        async for change in coming:
            if change is not None:
                follower.see(change)
