"""The measurements beside thousands of WorkflowExecutions that are done with.

Those are copies of one that the operator itself has finished, with its finalizer, its trail stored
and its target released: there is nothing to do for them, and that is what it should cost.
"""

import asyncio
import time

import msgspec

from benchmarks.operator_load import Load, in_parallel
from benchmarks.operator_objects import EXECUTIONS, make_finished, released
from benchmarks.operator_place import OperatorProcess, Place, Stage, stage
from benchmarks.operator_requests import Requests, served
from benchmarks.operator_steady import (
    Found,
    Sizes,
    Steady,
    many_in_flight,
    operators_own,
    with_script,
)
from benchmarks.worker import say
from kubernaut.kubernetes import Client
from kubernaut.workflowexecution import WORKFLOW_EXECUTIONS, WorkflowExecutionStatus


def finished(sizes: Sizes) -> Found:
    """The operator starts, and works, where thousands are done with."""
    found = Found()
    with stage() as on:
        place = on.place()
        with on.operator(place) as operator:
            with_script(on, lambda client, _: _fill(client, place, sizes.finished, operator))
            for _ in range(sizes.rounds):
                operator.stop()
                _restart(found, on, operator)
            number, in_flight = 3 * sizes.in_flight, sizes.in_flight
            steady = with_script(
                on,
                lambda client, _: many_in_flight(
                    on, operator, Load(client, place, "rss"), number, in_flight
                ),
            )
            found.note("rss-finished", steady.rss)
    return found


def _restart(found: Found, on: Stage, operator: OperatorProcess) -> None:
    before = served(on.cluster)
    began = time.monotonic()
    operator.start().wait_until_ready()
    ready = time.monotonic() - began
    cpu = operator.wait_until_quiet()
    requests = operators_own(on, before, Requests())
    found.note("restart", cpu)
    emitted = sum(number for what, number in requests.items() if what.endswith(" events"))
    found.note("emitted", emitted)
    found.remark("s until it is ready and leads", round(ready, 1))
    found.remark("RSS once it is quiet, MiB", round(operator.rss(), 1))
    found.remark("requests", dict(requests))


async def _fill(client: Client, place: Place, number: int, operator: OperatorProcess) -> None:
    """Make finished ones: copies of one that the operator itself has finished.

    The operator is stopped meanwhile, and stays so.
    """
    load = Load(client, place, "model")
    await load.run(1, 1)
    name = load.lives[0].name
    model = await client.get(WORKFLOW_EXECUTIONS, name, place.executions)
    await asyncio.to_thread(operator.stop)
    status: WorkflowExecutionStatus = released(model.status)
    body = {"status": msgspec.to_builtins(status)}
    await client.patch(EXECUTIONS, name, body, namespace=place.executions, subresource="status")

    async def one(index: int) -> None:
        await make_finished(client, place.executions, f"finished-{index:05}", status)

    began = time.monotonic()
    await in_parallel(one, range(number))
    say(f"  {number:,} finished ones made in {time.monotonic() - began:.0f} s")


def scaling(sizes: Sizes) -> Found:
    """The same load where none are done with, and then where thousands are; in turn."""
    found = Found()
    for _ in range(sizes.rounds):
        with stage() as on:
            place = on.place()
            with on.operator(place) as operator:
                none, some = _compare(sizes, on, place, operator)
        found.note("scaling", some.per_second / none.per_second)
        found.remark("WFEs/s with none, with many", (none.per_second, some.per_second))
        found.remark("CPU each with none, with many, ms", (none.cpu * 1e3, some.cpu * 1e3))
        found.remark("RSS with none, with many, MiB", (none.rss, some.rss))
    return found


def _compare(
    sizes: Sizes, on: Stage, place: Place, operator: OperatorProcess
) -> tuple[Steady, Steady]:
    def rate(name: str) -> Steady:
        return with_script(
            on,
            lambda client, _: many_in_flight(
                on, operator, Load(client, place, name), sizes.load, sizes.in_flight
            ),
        )

    none = rate("none")
    with_script(on, lambda client, _: _fill(client, place, sizes.many_finished, operator))
    operator.start().wait_until_ready()
    operator.wait_until_quiet()
    return none, rate("some")
