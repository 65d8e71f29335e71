"""Events as a real API server takes them."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from kubernaut.kubernetes import (
    EVENTS,
    NAMESPACES,
    Client,
    ClientConfig,
    Event,
    Namespace,
    ObjectMeta,
)
from kubernaut.kubernetes._recorder import EventRecorder
from kubernaut.local._port import free_port
from test.polling import async_wait_for
from test.unit.kubernetes.widgets import WIDGETS, Widget


def about(namespace: str, name: str = "sized") -> Widget:
    return Widget(metadata=ObjectMeta(name=name, namespace=namespace, uid=f"uid-{name}"))


@asynccontextmanager
async def recording(
    client: Client, *, series_interval: float = 60.0
) -> AsyncIterator[EventRecorder]:
    recorder = EventRecorder(
        client,
        "test.kubernaut.ai/sizer",
        "sizer-0",
        series_interval=series_interval,
        registry=CollectorRegistry(),
    )
    running = asyncio.create_task(recorder.run())
    yield recorder
    await recorder.close()
    await running


async def events(client: Client, namespace: str) -> list[Event]:
    pages = client.list(EVENTS, namespace=namespace)
    return [event async for page in pages for event in page.items]


async def until(
    client: Client, namespace: str, check: Callable[[list[Event]], bool]
) -> list[Event]:
    async def found() -> list[Event]:
        seen = await events(client, namespace)
        return seen if check(seen) else []

    return await async_wait_for(found, 20, "the events are written")


async def test_an_event_says_who_did_what_to_which_object(client: Client, namespace: str) -> None:
    widget = about(namespace)
    async with recording(client) as recorder:
        recorder.record(
            WIDGETS, widget, "Resized", "from 1 to 2", action="Resizing", type_="Warning"
        )
    (event,) = await events(client, namespace)
    assert (event.type, event.action, event.reason) == ("Warning", "Resizing", "Resized")
    assert event.note == "from 1 to 2"
    assert event.reporting_controller == "test.kubernaut.ai/sizer"
    assert event.reporting_instance == "sizer-0"
    assert event.event_time is not None
    assert event.series is None
    assert event.regarding is not None
    assert (event.regarding.kind, event.regarding.name) == ("Widget", "sized")
    assert event.regarding.api_version == "test.kubernaut.ai/v1"
    assert recorder.dropped == 0


async def test_repetitions_are_one_event_with_a_count(client: Client, namespace: str) -> None:
    async with recording(client, series_interval=0.3) as recorder:
        recorder.record(WIDGETS, about(namespace), "Waiting", "the first note")
        await until(client, namespace, lambda seen: len(seen) == 1)
        for _ in range(50):
            recorder.record(WIDGETS, about(namespace), "Waiting", "another note")
        recorder.record(WIDGETS, about(namespace, "other"), "Waiting", "")

        def counted(seen: list[Event]) -> bool:
            return any(each.series is not None and each.series.count == 51 for each in seen)

        await until(client, namespace, counted)
        seen = await events(client, namespace)
        assert sorted(each.note for each in seen) == ["", "the first note"]


async def test_what_is_left_of_a_series_is_written_at_the_end(
    client: Client, namespace: str
) -> None:
    async with recording(client, series_interval=3600) as recorder:
        for _ in range(3):
            recorder.record(WIDGETS, about(namespace), "Waiting", "")
            await until(client, namespace, lambda seen: len(seen) == 1)
    (event,) = await events(client, namespace)
    assert event.series is not None
    assert event.series.count == 3


async def test_an_event_that_was_removed_is_made_again(client: Client, namespace: str) -> None:
    async with recording(client) as recorder:
        recorder.record(WIDGETS, about(namespace), "Waiting", "")
        (event,) = await until(client, namespace, lambda seen: len(seen) == 1)
        await client.delete(EVENTS, event.metadata.name, namespace=namespace)
        recorder.record(WIDGETS, about(namespace), "Waiting", "")
    (again,) = await events(client, namespace)
    assert again.series is not None
    assert again.series.count == 2


async def test_each_object_has_a_budget(client: Client, namespace: str) -> None:
    async with recording(client) as recorder:
        for number in range(40):
            recorder.record(WIDGETS, about(namespace), f"Reason{number}", "")
        recorder.record(WIDGETS, about(namespace, "other"), "Reason", "")
    assert len(await events(client, namespace)) == 26
    assert recorder.dropped == 15


@pytest.mark.parametrize("note", ["a" * 5000, "ü" * 1000, "x" + "𝄞" * 500])
async def test_a_long_note_is_cut_to_what_the_server_takes(
    client: Client, namespace: str, note: str
) -> None:
    async with recording(client) as recorder:
        recorder.record(WIDGETS, about(namespace), "Noted", note)
    (event,) = await events(client, namespace)
    assert note.startswith(event.note)
    assert 1020 <= len(event.note.encode()) <= 1024


async def test_long_and_odd_names_are_taken(client: Client, namespace: str) -> None:
    odd = "a" * 199 + "-" + "b" * 53
    async with recording(client) as recorder:
        recorder.record(WIDGETS, about(namespace, odd), "Named", "")
    (event,) = await events(client, namespace)
    assert event.regarding is not None
    assert event.regarding.name == odd


async def test_an_object_without_a_namespace_has_its_events_in_default(client: Client) -> None:
    found = Namespace(metadata=ObjectMeta(name="default", uid="uid-of-this-test"))
    async with recording(client) as recorder:
        recorder.record(NAMESPACES, found, "Seen", "")

    def mine(seen: list[Event]) -> bool:
        return any(
            each.regarding is not None and each.regarding.uid == "uid-of-this-test" for each in seen
        )

    assert mine(await events(client, "default"))


async def test_without_a_server_nothing_waits_and_nothing_fails(config: ClientConfig) -> None:
    nowhere = replace(config, server=f"https://127.0.0.1:{free_port()}")
    async with Client(nowhere, field_manager="test", qps=0) as client:
        recorder = EventRecorder(client, "c", "i", registry=CollectorRegistry())
        running = asyncio.create_task(recorder.run())
        started = client.clock.monotonic()
        for number in range(1000):
            recorder.record(WIDGETS, about("ns", f"w{number}"), "Lost", "")
        recorder.record(WIDGETS, None, "Bad", "")  # type: ignore[arg-type]  # the caller's bug
        assert client.clock.monotonic() - started < 1
        await recorder.close(limit=0.5)
        assert recorder.dropped == 1001
        running.cancel()
        await asyncio.wait({running})
