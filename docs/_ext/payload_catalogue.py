"""Writes the payload catalogue into its page from the structs that the service decodes with.

The page holds `MARKER`; what stands there when Sphinx reads the page is made here, so that the
page cannot say anything else than the code.
"""

from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import Struct, UnsetType, inspect

from kubernaut.audit.payloads import PAYLOAD_TYPES, Payload

PAGE: Final = "reference/payloads"
MARKER: Final = "<!-- the payload catalogue -->"

_FAMILIES: Final = {
    "_signals": "Signals and their processing",
    "_orchestrator": "Orchestrator",
    "_aianalysis": "AI analysis",
    "_execution": "Workflow execution and effectiveness",
    "_notification": "Notifications",
    "_webhooks": "Admission webhooks",
    "_catalog": "Workflow and action type catalogue",
    "_aiagent_investigation": "AI agent: investigations",
    "_aiagent_sessions": "AI agent: sessions",
    "_aiagent_safety": "AI agent: alignment and security",
    "_apifrontend_sessions": "API front end: sessions",
    "_apifrontend_work": "API front end: work",
    "_apifrontend_security": "API front end: security and configuration",
}
"""The module of a family, and what the page calls it; in the order of the page."""

_PLAIN: Final[dict[type[inspect.Type], str]] = {
    inspect.AnyType: "any value",
    inspect.RawType: "any value",
    inspect.NoneType: "null",
    inspect.BoolType: "boolean",
    inspect.IntType: "integer",
    inspect.FloatType: "number",
    inspect.StrType: "string",
    inspect.DateTimeType: "time (RFC 3339 with an offset)",
    inspect.UUIDType: "UUID",
}


def catalogue() -> str:
    """The whole catalogue as Markdown: families, their payloads, then the shared objects."""
    by_family: dict[str, list[type[Payload]]] = {module: [] for module in _FAMILIES}
    for payload in dict.fromkeys(PAYLOAD_TYPES.values()):
        by_family[payload.__module__.rpartition(".")[2]].append(payload)
    lines: list[str] = []
    for module, title in _FAMILIES.items():
        lines += [f"## {title}", ""]
        for payload in by_family[module]:
            lines += _payload(payload)
    lines += ["## Shared objects", ""]
    for shared in _shared_objects():
        lines += [f"### {shared.__name__}", "", _summary(shared), "", *_fields(shared), ""]
    return "\n".join(lines)


def _payload(payload: type[Payload]) -> Iterator[str]:
    event_types = [name for name, kind in PAYLOAD_TYPES.items() if kind is payload]
    yield from (f"### {payload.__name__}", "", _summary(payload), "")
    yield from (f"- `{name}`" for name in event_types)
    yield from ("", *_fields(payload), "")


def _summary(kind: type[Struct]) -> str:
    return (kind.__doc__ or "").partition("\n")[0]


def _fields(kind: type[Struct]) -> Iterator[str]:
    fields = [field for field in _info(kind).fields if field.encode_name != "event_type"]
    if not fields:
        yield "No further fields."
        return
    yield from ("| Field | Required | Type |", "|---|---|---|")
    for field in sorted(fields, key=lambda field: not field.required):
        required = "yes" if field.required else "no"
        yield f"| `{field.encode_name}` | {required} | {_type(field.type)} |"


def _info(kind: type[Struct]) -> inspect.StructType:
    info = inspect.type_info(kind)
    assert isinstance(info, inspect.StructType)  # noqa: S101  (for the type checker)
    return info


def _type(kind: inspect.Type) -> str:
    match kind:
        case inspect.Metadata(type=inner):
            text = _type(inner)
        case inspect.LiteralType(values=values):
            text = ("one of " if len(values) > 1 else "") + ", ".join(f"`{one}`" for one in values)
        case inspect.ListType(item_type=item):
            text = f"array of {_type(item)}"
        case inspect.DictType(value_type=inspect.AnyType()):
            text = "object"
        case inspect.DictType(value_type=value):
            text = f"object, each value a {_type(value)}"
        case inspect.StructType(cls=cls):
            text = f"[{cls.__name__}](#{cls.__name__.lower()})"
        case inspect.UnionType(types=types):
            text = " or ".join(_type(one) for one in types if not _is_unset(one))
        case _:
            text = _PLAIN[type(kind)]
    return text


def _is_unset(kind: inspect.Type) -> bool:
    return isinstance(kind, inspect.CustomType) and kind.cls is UnsetType


def _shared_objects() -> list[type[Struct]]:
    """The structs inside payloads, in the order in which they are first met."""
    found: dict[type[Struct], None] = {}
    for payload in dict.fromkeys(PAYLOAD_TYPES.values()):
        for struct in _inner(_info(payload).fields):
            found.setdefault(struct)
    return list(found)


def _inner(fields: Iterable[inspect.Field]) -> Iterator[type[Struct]]:
    waiting = [field.type for field in fields]
    while waiting:
        kind = waiting.pop(0)
        match kind:
            case inspect.Metadata(type=inner) | inspect.ListType(item_type=inner):
                waiting.append(inner)
            case inspect.DictType(value_type=inner):
                waiting.append(inner)
            case inspect.UnionType(types=types):
                waiting.extend(types)
            case inspect.StructType(cls=cls):
                yield cls
                waiting.extend(field.type for field in kind.fields)


def _write(_app: Any, name: str, source: list[str]) -> None:
    if name == PAGE:
        source[0] = source[0].replace(MARKER, catalogue())


def _always(*_: Any) -> list[str]:
    return [PAGE]  # It depends on code, not only on its own text.


def setup(app: Any) -> dict[str, bool]:
    """Sphinx's entry point."""
    app.connect("source-read", _write)
    app.connect("env-get-outdated", _always)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
