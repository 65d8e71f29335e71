"""A DataStorage of the old contract: a batch is taken whole or refused whole.

For what ours never answers: 202, 201 without results, 400 for one bad event among many.
"""

import json
import threading
from typing import Any, Final

from test.answering_server import Answer, Received

PROBLEM: Final = {"Content-Type": "application/problem+json"}
JSON: Final = {"Content-Type": "application/json"}


class OldServer:
    """What it decides; `stored` are the numbers of the events that it has taken, in order.

    Attributes:
        poison: numbers of events that it refuses, and the whole batch with them, with `refusal`.
        most_events: in a batch; beyond, 400 `batch-size-exceeded`.
        most_bytes: of a body; beyond, 413.
        database_away: it answers 202 as if it had queued the batch.
    """

    def __init__(self) -> None:
        self.poison: set[int] = set()
        self.refusal = 400
        self.most_events = 500
        self.most_bytes = 5 * 2**20
        self.database_away = False
        self.stored: list[int] = []
        self.queued: list[int] = []
        self.batches: list[list[int]] = []
        self._lock = threading.Lock()

    def __call__(self, received: Received) -> Answer:
        events = json.loads(received.body)
        numbers = [event["event_data"]["number"] for event in events]
        with self._lock:
            self.batches.append(numbers)
            if len(received.body) > self.most_bytes:
                return problem(413, "request-too-large")
            if len(events) > self.most_events:
                return problem(400, "batch-size-exceeded")
            if self.poison.intersection(numbers):
                return problem(self.refusal, "validation-error", "event at index i failed")
            if self.database_away:
                self.queued += numbers
                return answer(202, {"status": "accepted", "message": "queued", "count": 1})
            self.stored += numbers
            ids = [event["event_id"] for event in events]
            return answer(201, {"event_ids": ids, "message": "created successfully"})


def problem(status: int, slug: str, detail: str = "") -> Answer:
    document = {"type": f"https://kubernaut.ai/problems/{slug}", "title": slug, "detail": detail}
    return Answer(status, json.dumps(document).encode(), PROBLEM)


def answer(status: int, document: Any) -> Answer:
    return Answer(status, json.dumps(document).encode(), JSON)
