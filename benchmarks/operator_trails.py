"""What is stored of the trails of a load, and when it was.

A row's time is that of the commit of its transaction (`pg_xact_commit_timestamp`), on the clock
that all processes of a machine share. PostgreSQL takes it right before it writes the commit to the
disk, so one fsync of some tenths of a millisecond is not in it. Nothing is polled, so that the
question does not slow down what it asks about.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import psycopg

from benchmarks.operator_load import Life

EVENTS: Final = 4
"""What a completed WorkflowExecution owes."""
_TRAILS: Final = """
SELECT c.correlation_id, count(*), count(DISTINCT e.event_type),
       extract(epoch FROM max(pg_xact_commit_timestamp(c.xmin)))::float8
FROM audit_chain AS c JOIN audit_events AS e USING (event_id)
WHERE c.correlation_id = ANY (%s) GROUP BY c.correlation_id
"""


class Trails(NamedTuple):
    """What became of the events that a load owed.

    Attributes:
        seconds: of each whole trail: from the sight of Completed to the commit of its last event.
        lost: events that are not stored.
        repeated: events that are stored more than once.
    """

    seconds: list[float]
    lost: int
    repeated: int


def trails(database: str, lives: Sequence[Life]) -> Trails:
    """Look at the database. Everything should be there: call it when all is acknowledged."""
    by_id = {life.correlation_id: life for life in lives}
    with psycopg.connect(database) as connection:
        rows = connection.execute(_TRAILS, (list(by_id),)).fetchall()
    seconds, stored, repeated = [], 0, 0
    for correlation_id, number, types, last in rows:
        stored += types
        repeated += number - types
        if types == EVENTS:
            seconds.append(last - by_id[correlation_id].terminal_unix)
    return Trails(seconds, EVENTS * len(by_id) - stored, repeated)
