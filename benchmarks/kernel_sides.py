"""The sides of the kernel's benchmark, each in a worker process of its own.

A side does nothing with an object but note that it was called. Each process loads its own side
alone, and runs it on asyncio's own event loop.
"""

import asyncio
import logging
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

import msgspec

from benchmarks.kernel_names import GROUP, PLURAL
from benchmarks.worker import Stopwatch, run, wait_for_go

_SOON: Final = 1e-6
_LONGEST: Final = 300  # Seconds that a side may take.

SideName = Literal["kernel", "kopf", "kopf+cache", "watch"]


class Job(msgspec.Struct):
    """What a side is to do.

    Attributes:
        side: which; `watch` is a bare watch, the floor of what latency can be.
        kubeconfig: of the API server.
        namespace: of the objects.
        objects: how many are there. None in it: wait until it is idle.
        workers: at most so many at once; None for kopf's own setting, which is no limit.
        round: wait for this round of changes after the start; None to end after the start.
        settle: seconds from the last call to the reading of the memory.
    """

    side: SideName
    kubeconfig: str
    namespace: str
    objects: int
    workers: int | None = None
    round: int | None = None
    settle: float = 0.0


class Answer(msgspec.Struct):
    """What was measured.

    Attributes:
        first: seconds from the start to the first call.
        last: seconds from the start to the last object's call.
        rss: MiB when all has settled.
        peak: MiB at most.
        cpu: seconds of CPU of the changes.
        wall: seconds from the first change to the call with the last.
        calls: calls that changes led to.
        latencies: nanoseconds from sending a change to its call.
    """

    first: float = 0.0
    last: float = 0.0
    rss: float = 0.0
    peak: float = 0.0
    cpu: float = 0.0
    wall: float = 0.0
    calls: int = 0
    latencies: list[int] = []


class Tally:
    """Notes calls."""

    def __init__(self, job: Job) -> None:
        self.answer = Answer()
        self._job = job
        self._started = time.perf_counter()
        self._calls = 0
        self._synced = asyncio.Event()
        self._watch: Stopwatch | None = None
        self._finished: set[str] = set()
        self._done = asyncio.Event()

    def called(self, name: str, number: int, stamp: int) -> None:
        """The controller was called for an object."""
        if self._watch is not None:
            self._changed(name, number, stamp)
            return
        self._calls += 1
        if self._calls == 1:
            self.answer.first = time.perf_counter() - self._started
        if self._calls == self._job.objects:
            self.answer.last = time.perf_counter() - self._started
            self._synced.set()

    async def finish(self) -> NoReturn:
        """Wait for all calls, and answer. The process ends: there is nothing to take down."""
        job, answer = self._job, self.answer
        guard = asyncio.create_task(_end_with(os.getppid()))
        if job.objects:
            await self._synced.wait()
        if job.round is None:
            await asyncio.sleep(job.settle)
            answer.rss, answer.peak = _memory()
        else:
            await asyncio.sleep(1)  # The watch follows the list.
            self._watch = Stopwatch()
            await asyncio.to_thread(wait_for_go)
            self._watch = Stopwatch()
            await self._done.wait()
            answer.wall, answer.cpu = self._watch.read()
        sys.stdout.buffer.write(msgspec.json.encode(answer) + b"\n")
        sys.stdout.flush()
        guard.cancel()
        os._exit(0)

    def _changed(self, name: str, number: int, stamp: int) -> None:
        self.answer.latencies.append(time.monotonic_ns() - stamp)
        self.answer.calls += 1
        if number == self._job.round:
            self._finished.add(name)
            if len(self._finished) == self._job.objects:
                self._done.set()


async def kernel(job: Job) -> None:
    """Ours: a reflector, its store, and a controller that reads the store."""
    from benchmarks.kernel_objects import PROBES  # noqa: PLC0415  (each process loads its side)
    from kubernaut.kubernetes import (  # noqa: PLC0415
        Client,
        ClientConfig,
        Controller,
        Reflector,
        Store,
    )

    async with Client(ClientConfig.load(job.kubeconfig), field_manager="bench") as client:
        probes = Reflector(client, PROBES, Store(), namespace=job.namespace)

        async def reconcile(key: str) -> None:
            found = probes.store.get(key)
            if found is not None:
                tally.called(key, found.spec.round, found.spec.stamp)

        controller = Controller("bench", reconcile, workers=job.workers or 1)
        controller.watches(probes)
        tally = Tally(job)
        async with asyncio.TaskGroup() as group:
            group.create_task(probes.run())
            group.create_task(controller.run())
            group.create_task(tally.finish())


async def kopf(job: Job) -> None:
    """Runs `on.event` of kopf, which writes nothing: no annotations, no finalizers, no progress.

    Peering, posting, scanning and logging of single objects are off. It keeps no object; with
    `kopf+cache` the handler does, in a dictionary. (`kopf.index` is made for that, and takes time
    by the square of the number of objects to start.) By default an object's worker stays for
    5 seconds after its last event; where the number of workers is limited it leaves at once, or
    each object would take that long.
    """
    import kopf as library  # noqa: PLC0415

    logging.getLogger().setLevel(logging.WARNING)
    os.environ["KUBECONFIG"] = job.kubeconfig
    settings = library.OperatorSettings()
    settings.posting.enabled = False
    settings.scanning.disabled = True
    if job.workers is not None:
        settings.queueing.worker_limit = job.workers
        settings.queueing.idle_timeout = _SOON

    @library.on.login()
    def login(**given: Any) -> Any:
        return library.login_with_kubeconfig(**given)

    cache: dict[str, Any] = {}

    @library.on.event(GROUP, "v1", PLURAL)
    async def changed(name: str, spec: Any, body: Any, **_: Any) -> None:
        if job.side == "kopf+cache":
            metadata = {k: v for k, v in body["metadata"].items() if k != "managedFields"}
            cache[name] = {"metadata": metadata, "spec": dict(spec)}
        tally.called(name, spec["round"], spec["stamp"])

    tally = Tally(job)
    async with asyncio.TaskGroup() as group:
        group.create_task(
            library.operator(settings=settings, standalone=True, namespaces=[job.namespace])
        )
        group.create_task(tally.finish())


async def watch(job: Job) -> None:
    """A list and a watch with aiohttp, and nothing behind it."""
    import aiohttp  # noqa: PLC0415

    from kubernaut.kubernetes import ClientConfig  # noqa: PLC0415

    config = ClientConfig.load(job.kubeconfig)
    url = f"{config.server}/apis/{GROUP}/v1/namespaces/{job.namespace}/{PLURAL}"
    tally = Tally(job)

    def call(found: Any) -> None:
        spec = found["spec"]
        tally.called(found["metadata"]["name"], spec["round"], spec["stamp"])

    connector = aiohttp.TCPConnector(ssl=config.ssl_context())
    async with aiohttp.ClientSession(connector=connector) as session, asyncio.TaskGroup() as group:
        group.create_task(tally.finish())
        async with session.get(url) as response:
            page = msgspec.json.decode(await response.read())
        for item in page["items"]:
            call(item)
        version = page["metadata"]["resourceVersion"]
        async with session.get(url, params={"watch": "true", "resourceVersion": version}) as stream:
            async for line in stream.content:
                call(msgspec.json.decode(line)["object"])


SIDES: Final[dict[SideName, Callable[[Job], Awaitable[None]]]] = {
    "kernel": kernel,
    "kopf": kopf,
    "kopf+cache": kopf,
    "watch": watch,
}


async def _end_with(parent: int) -> None:
    """End this process, which may wait for ever, with its parent or when it takes too long."""
    for _ in range(_LONGEST):
        await asyncio.sleep(1)
        if os.getppid() != parent:
            break
    os._exit(1)


def _memory() -> tuple[float, float]:
    """MiB of this process in memory, now and at most."""
    lines = Path("/proc/self/status").read_text().splitlines()
    found = {line.split(":")[0]: line.split()[1] for line in lines if line.startswith("Vm")}
    return int(found["VmRSS"]) / 1024, int(found["VmHWM"]) / 1024


def work(job: Job) -> Answer:
    """Run a side; it answers by itself."""
    asyncio.run(SIDES[job.side](job))  # type: ignore[arg-type]  # Coroutines, all.
    return Answer()


if __name__ == "__main__":
    run(Job, work)
