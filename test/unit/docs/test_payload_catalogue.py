"""The page of the payload catalogue, as it is built, has everything that the catalogue has."""

from typing import Final

from msgspec import structs

from kubernaut.audit.payloads import PAYLOAD_TYPES
from test.unit.docs import catalogue
from test.unit.docs.pages import anchors, codes, headings, read, section, table

PAGE: Final = catalogue.page()


def test_every_event_type_stands_below_its_schema_and_nowhere_else() -> None:
    assert len(PAYLOAD_TYPES) == 142
    for event_type, payload in PAYLOAD_TYPES.items():
        assert PAGE.count(f"\n- `{event_type}`\n") == 1
        assert f"\n- `{event_type}`\n" in section(PAGE, payload.__name__)


def test_every_schema_has_one_heading_and_all_its_fields() -> None:
    payloads = set(PAYLOAD_TYPES.values())
    assert len(payloads) == 94
    for payload in payloads:
        assert headings(PAGE).count(payload.__name__) == 1
        fields = {
            field.encode_name: "yes" if field.required else "no"
            for field in structs.fields(payload)
            if field.name != "event_type"
        }
        documented = {}
        if fields:
            documented = {codes(row[0])[0]: row[1] for row in table(PAGE, payload.__name__)}
        assert documented == fields


def test_every_summary_is_a_sentence() -> None:
    for payload in set(PAYLOAD_TYPES.values()):
        summary = section(PAGE, payload.__name__).strip().partition("\n")[0]
        assert summary.endswith("."), payload


def test_the_families_of_the_page_on_events_exist() -> None:
    found = set(anchors(PAGE))
    links = [row[1] for row in table(read("reference/events"), "Payload families")]
    named = [part.partition(")")[0] for link in links for part in link.split("payloads.md#")[1:]]
    assert named
    assert set(named) <= found


def test_every_event_type_has_a_family_on_the_page_on_events() -> None:
    cells = [row[0] for row in table(read("reference/events"), "Payload families")]
    prefixes = tuple(code.rstrip("…") for cell in cells for code in codes(cell))
    assert all(event_type.startswith(prefixes) for event_type in PAYLOAD_TYPES)
