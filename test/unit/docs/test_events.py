"""The page on events and the structs that events are decoded with are the same."""

from typing import Final, get_args

import pytest
from msgspec import inspect

from kubernaut.audit import AuditEvent, StrictAuditEvent
from kubernaut.audit._event import CurrentCategory
from kubernaut.audit.wire import StoredEvent
from test.unit.docs.pages import codes, read, section, table

PAGE: Final = read("reference/events")
SENT: Final = {codes(row[0])[0]: row for row in table(PAGE, "Sent events")}


def fields(struct: type) -> dict[str, inspect.Field]:
    info = inspect.type_info(struct)
    assert isinstance(info, inspect.StructType)
    return {field.encode_name: field for field in info.fields}


DEFAULT: Final = fields(AuditEvent)
STRICT: Final = fields(StrictAuditEvent)


def alternatives(kind: inspect.Type) -> list[inspect.Type]:
    if isinstance(kind, inspect.Metadata):
        return alternatives(kind.type)
    if isinstance(kind, inspect.UnionType):
        return [inner for one in kind.types for inner in alternatives(one)]
    return [kind]


def test_every_field_is_documented_and_nothing_else() -> None:
    assert set(SENT) == set(DEFAULT) == set(STRICT)


@pytest.mark.parametrize("name", DEFAULT)
def test_what_is_required(name: str) -> None:
    required = SENT[name][2]
    assert (required == "yes") is DEFAULT[name].required
    assert required.startswith(("strict", "yes")) is STRICT[name].required


@pytest.mark.parametrize("name", DEFAULT)
def test_what_may_be_null(name: str) -> None:
    nullable = any(isinstance(one, inspect.NoneType) for one in alternatives(DEFAULT[name].type))
    assert SENT[name][4].startswith("yes") is nullable
    assert SENT[name][4].startswith("no") is not nullable


@pytest.mark.parametrize("name", DEFAULT)
def test_the_limits(name: str) -> None:
    documented = SENT[name][1]
    for one in alternatives(DEFAULT[name].type):
        match one:
            case inspect.StrType(max_length=int(longest)):
                assert str(longest) in documented
                assert ("1 to" in documented) is (one.min_length == 1)
            case inspect.IntType(le=int(largest)) if largest != 2**31 - 1:
                assert str(largest) in documented
            case inspect.LiteralType(values=words) if name != "event_category":
                assert set(codes(documented)) == set(words)


def test_the_categories() -> None:
    named = codes(section(PAGE, "Categories"))
    assert set(named) == {*get_args(CurrentCategory), "execution"}


def test_the_strict_contract() -> None:
    required = next(row for row in table(PAGE, "Contracts") if row[0] == "Required")
    assert set(codes(required[1])) == {name for name in DEFAULT if DEFAULT[name].required}
    assert set(codes(required[2])) == {name for name in STRICT if STRICT[name].required}


def test_every_member_of_a_stored_event_is_documented_in_order() -> None:
    documented = {codes(row[0])[0]: row[2] for row in table(PAGE, "Stored events")}
    stored = fields(StoredEvent)
    assert list(documented) == list(stored)
    for name, field in stored.items():
        assert (documented[name] == "left out") is (not field.required), name
