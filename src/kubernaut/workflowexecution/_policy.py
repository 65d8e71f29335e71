"""The operator's times and defaults, as the decisions need them (`_settings.py` reads them)."""

from dataclasses import dataclass, field

from kubernaut.workflowexecution._run import RunDefaults


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """What holds for all runs; times are seconds.

    Attributes:
        runs: what a spec may leave out.
        cooldown: how long a target stays locked after a run on it has ended.
        deadline_grace: how long after `timesOutAt` an engine may take to end the run by itself.
        stalled_after: how long a running run may show no progress before it is called stalled.
        trail_timeout: how long a deletion waits for the audit trail to be stored; then it goes on,
            and that is audited.
        refusal_patience: how long a creation that is forbidden, or whose place is not there, is
            tried again before that is believed: an API server that has just started knows neither
            all rights nor all kinds yet.
        settle: how long after its start a run that is still going gets `AuditRecorded` written for
            its own sake; before, it rides on other writes.
    """

    runs: RunDefaults = field(default_factory=RunDefaults)
    cooldown: float = 300.0
    deadline_grace: float = 10.0
    stalled_after: float = 900.0
    trail_timeout: float = 3600.0
    refusal_patience: float = 5.0
    settle: float = 5.0
