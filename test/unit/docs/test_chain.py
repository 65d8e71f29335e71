"""The page on the chain: its example recomputes, and its verifier agrees with the service."""

import ipaddress
import json
from datetime import UTC, date, datetime
from typing import Any, Final
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from kubernaut.datastorage import chain
from kubernaut.datastorage.intake import Intake
from test.unit.docs.pages import blocks, codes, read, section, table

PAGE: Final = read("reference/chain")
CORRELATION: Final = "rr-1"


def verifier() -> dict[str, Any]:
    """The names that the program on the page defines."""
    (program,) = blocks(section(PAGE, "A verifier"), "python")
    names: dict[str, Any] = {"__name__": "verifier"}
    exec(compile(program, "docs/reference/chain.md", "exec"), names)  # noqa: S102  (our own page)
    return names


VERIFIER: Final = verifier()


def sent_rows() -> list[tuple[Any, ...]]:
    """The example's events as the service would store them."""
    intake = Intake()
    rows = []
    for body in blocks(section(PAGE, "Worked example"), "json"):
        decoded = intake.decode_single(body.encode())
        parents = {parent: date(2026, 11, 24) for parent in decoded.parent_ids()}
        prepared = intake.prepare(decoded, datetime(2026, 11, 24, 12, tzinfo=UTC), parents)
        assert prepared.faults == []
        (event,) = prepared.events
        assert event.correlation_id == CORRELATION
        rows.append(event.row[: len(chain.EVENT_COLUMNS)])
    return rows


def as_json(row: tuple[Any, ...]) -> dict[str, Any]:
    """A row as the SQL of `how-to/verify-a-chain.md` writes it."""

    def plain(value: Any) -> Any:
        if isinstance(value, datetime):
            return value.strftime("%Y-%m-%dT%H:%M:%S.%fZ").rjust(27, "0")
        return str(value) if isinstance(value, UUID | date) else value

    return {name: plain(value) for name, value in zip(chain.EVENT_COLUMNS, row, strict=True)}


def hexes(heading: str) -> list[bytes]:
    return [bytes.fromhex(block) for block in blocks(section(PAGE, heading), "text")]


def test_the_worked_example_recomputes() -> None:
    prefix = chain.link_prefix(CORRELATION)
    previous = chain.GENESIS
    rows = sent_rows()
    assert len(rows) == 2
    for seq, (row, heading) in enumerate(
        zip(rows, ("First link", "Second link"), strict=True), start=1
    ):
        array, digest, link, hash_ = hexes(heading)
        packed = row
        if address := row[chain.ACTOR_IP]:
            inner = ipaddress.ip_address(address).packed
            packed = (*row[: chain.ACTOR_IP], inner, *row[chain.ACTOR_IP + 1 :])
        assert chain._encode(packed) == array
        assert chain._sha256(chain.EVENT_DOMAIN + array).digest() == digest
        assert chain.event_digest(row) == digest
        assert prefix + seq.to_bytes(8, "big") + previous + digest == link
        assert chain._sha256(link).digest() == hash_
        assert chain.link_hash(prefix, seq, previous, digest) == hash_
        assert VERIFIER["event_digest"](as_json(row)) == digest
        assert VERIFIER["link_hash"](CORRELATION, seq, previous, digest) == hash_
        previous = hash_


def test_the_length_of_the_first_array() -> None:
    array = hexes("First link")[0]
    assert f"({len(array)} bytes)" in section(PAGE, "First link")


def test_the_columns_are_listed_in_order() -> None:
    listed = [codes(row[1])[0] for row in table(PAGE, "Event digest") if row[0].isdigit()]
    assert tuple(listed) == chain.EVENT_COLUMNS == tuple(VERIFIER["COLUMNS"])


def test_the_domains() -> None:
    for domain in (chain.EVENT_DOMAIN, chain.LINK_DOMAIN):
        assert domain.decode().rstrip("\n") in PAGE
        assert domain.hex() in PAGE
        assert len(domain) == 25


TEXTS: Final = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
OPTIONAL_TEXTS: Final = st.none() | TEXTS
LONG_TEXTS: Final = TEXTS | st.integers(0, 70_000).map(lambda length: "x" * length)
INT32: Final = st.integers(-(2**31), 2**31 - 1)
TIMES: Final = st.datetimes(timezones=st.just(UTC))
VALUES: Final[dict[str, st.SearchStrategy[Any]]] = {
    "event_timestamp": TIMES | TIMES.map(lambda time: time.replace(microsecond=0)),
    "event_id": st.uuids(),
    "parent_event_date": st.none() | st.dates(),
    "duration_ms": st.none() | INT32,
    "retention_days": st.integers(1, 2555),
    "is_sensitive": st.booleans(),
    "parent_event_id": st.none() | st.uuids(),
    "actor_ip": st.none() | st.ip_addresses().map(str),
    "event_data": LONG_TEXTS,
}
ROWS: Final = st.tuples(*(VALUES.get(name, OPTIONAL_TEXTS) for name in chain.EVENT_COLUMNS))


@given(ROWS)
def test_the_verifier_computes_the_digest_that_the_service_does(row: tuple[Any, ...]) -> None:
    line = json.loads(json.dumps(as_json(row)))
    assert VERIFIER["event_digest"](line) == chain.event_digest(row)


@given(TEXTS, st.integers(1, 2**63 - 1), st.binary(min_size=32, max_size=32))
def test_the_verifier_computes_the_hash_that_the_service_does(
    correlation_id: str, seq: int, previous: bytes
) -> None:
    digest = previous[::-1]
    assert VERIFIER["link_hash"](correlation_id, seq, previous, digest) == chain.link_hash(
        chain.link_prefix(correlation_id), seq, previous, digest
    )


def example_lines() -> list[dict[str, Any]]:
    return [
        {
            "seq": seq,
            "hash": hexes(heading)[3].hex(),
            "event_digest": hexes(heading)[1].hex(),
            "event": as_json(row),
        }
        for seq, (row, heading) in enumerate(
            zip(sent_rows(), ("First link", "Second link"), strict=True), start=1
        )
    ]


def verified(lines: list[dict[str, Any]]) -> list[str]:
    return list(VERIFIER["verify"](CORRELATION, [json.dumps(line) for line in lines]))


def test_the_verifier_finds_the_example_unbroken() -> None:
    lines = example_lines()
    assert verified(lines) == [f"newest link: seq 2, hash {lines[1]['hash']}"]


def test_the_verifier_finds_what_was_changed() -> None:
    lines = example_lines()
    lines[1]["event"]["event_outcome"] = "failure"
    assert verified(lines)[:-1] == ["seq 2: the event is not what was chained"]
    lines = example_lines()
    lines[0]["event"] = None
    assert verified(lines)[:-1] == ["seq 1: the event is gone"]
    lines = example_lines()
    assert verified(lines[1:])[:-1] == [
        "after seq 0 comes 2",
        "seq 2: the hash does not follow from the one before",
    ]
