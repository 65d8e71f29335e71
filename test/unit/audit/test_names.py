"""The names that the audit client exports: users rely on them."""

import kubernaut.audit

NAMES = """
AsyncClient AuditEvent AuditStore Client DeliveryLimits Endpoint EnvelopeFields EventFields
EventFilter FailureReason Fate Flushed IdReusedError InvalidEventError JournalError
JournalFullError Mode NotDeliveredError PayloadError Quarantined Receipt ServerProblemError
StoreClosedError StoreHealth StoreStats StrictAuditEvent TransportError WorkflowEventFields
WorkflowPhase WorkflowRun check_payload deterministic_id free_form_event go_duration typed_event
uuid7 workflow_completed workflow_execution_started workflow_failed workflow_selection_completed
workflow_started
"""


def test_the_client_exports_what_it_did() -> None:
    assert sorted(kubernaut.audit.__all__) == sorted(NAMES.split())


def test_what_is_loaded_later_is_there() -> None:
    for name in NAMES.split():
        assert getattr(kubernaut.audit, name) is not None
