"""The walker, without a database: untampered chains are clean, any tampering is found."""

import dataclasses
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from kubernaut.datastorage.chain import GENESIS, link_hash, link_prefix
from kubernaut.datastorage.verify import MAX_FINDINGS, ChainWalker, Link

NAME = "rr-1"
TIME = datetime(2026, 11, 1, tzinfo=UTC)


@dataclasses.dataclass
class Chain:
    links: list[Link]
    head: tuple[int, bytes] | None


def chain(length: int) -> Chain:
    prefix = link_prefix(NAME)
    previous = GENESIS
    links = []
    for seq in range(1, length + 1):
        digest = seq.to_bytes(32, "big")
        previous = link_hash(prefix, seq, previous, digest)
        links.append(Link(seq, previous, digest, str(uuid4()), TIME, digest))
    return Chain(links, (length, previous))


def walk(tampered: Chain) -> list[tuple[str, int]]:
    walker = ChainWalker(NAME)
    for link in tampered.links:
        walker.feed(link)
    walker.finish(tampered.head)
    return [(finding.verdict, finding.chain_seq) for finding in walker.findings]


def replace(link: Link, **changes: Any) -> Link:
    return msgspec.structs.replace(link, **changes)


@given(st.integers(1, 50))
def test_an_untouched_chain_is_clean(length: int) -> None:
    assert walk(chain(length)) == []


def test_an_empty_chain_is_clean() -> None:
    assert walk(Chain([], None)) == []
    assert walk(Chain([], (0, GENESIS))) == []


TAMPERINGS = st.sampled_from(
    ["content", "gone", "digest", "hash", "cut", "remove", "repeat", "head", "no head", "swap"]
)


@given(st.integers(2, 20), TAMPERINGS, st.data())
def test_any_single_tampering_is_found(  # noqa: C901  (a list of cases)
    length: int, how: str, data: st.DataObject
) -> None:
    tampered = chain(length)
    links = tampered.links
    at = data.draw(st.integers(0, length - 1))
    other = bytes(31) + b"\xff"
    match how:
        case "content":
            links[at] = replace(links[at], content_digest=other)
        case "gone":
            links[at] = replace(links[at], content_digest=None)
        case "digest":
            links[at] = replace(links[at], event_digest=other, content_digest=other)
        case "hash":
            links[at] = replace(links[at], hash=other)
        case "cut":
            del links[at:]
        case "remove":
            del links[at]
        case "repeat":
            links.insert(at, links[at])
        case "head":
            tampered.head = (length, other)
        case "no head":
            tampered.head = None
        case "swap":
            one, two = links[at], links[at - 1]
            links[at] = replace(two, seq=one.seq)
            links[at - 1] = replace(one, seq=two.seq)
    assert walk(tampered)


def test_a_gap_at_the_end_is_the_heads_word() -> None:
    tampered = chain(5)
    del tampered.links[3:]
    assert walk(tampered) == [("head_mismatch", 5)]


def test_a_head_that_lags_behind_is_found() -> None:
    tampered = chain(5)
    tampered.head = (3, tampered.links[2].hash)
    assert walk(tampered) == [("head_mismatch", 5)]


def test_several_breaks_are_all_named_in_order() -> None:
    tampered = chain(10)
    links = tampered.links
    links[8] = replace(links[8], content_digest=None)
    links[1] = replace(links[1], content_digest=GENESIS)
    del links[4:6]
    assert walk(tampered) == [("content_mismatch", 2), ("gap", 5), ("content_mismatch", 9)]


def test_the_list_of_findings_is_bounded_and_the_count_is_not() -> None:
    walker = ChainWalker(NAME)
    for link in chain(3000).links:
        walker.feed(replace(link, content_digest=None))
    assert len(walker.findings) == MAX_FINDINGS
    assert walker.counts["content_mismatch"] == 3000
    assert (walker.total, walker.verified) == (3000, 0)
