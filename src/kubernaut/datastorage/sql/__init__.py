"""Every SQL statement of the service, by name; one file each, for people to read and explain."""

from importlib.resources import files
from typing import Final


def _read(name: str) -> str:
    return (files(__name__) / f"{name}.sql").read_text()


LOCK_HEADS: Final = _read("lock_heads")
MOVE_HEADS: Final = _read("move_heads")
ENSURE_PARTITION: Final = _read("ensure_partition")
PLACED_ELSEWHERE: Final = _read("placed_elsewhere")
PARENT_DATES: Final = _read("parent_dates")
PAGE_ALONG_CHAIN: Final = _read("page_along_chain")
PAGE_IN_CHAIN: Final = _read("page_in_chain")
PAGE_OF_EVENTS: Final = _read("page_of_events")
EVENTS_IN_CHAIN: Final = _read("events_in_chain")
GET_EVENT: Final = _read("get_event")
VERIFY_CHAIN: Final = _read("verify_chain")
VERIFY_HEAD: Final = _read("verify_head")
HEALTH: Final = _read("health")
