"""The envelope of each event type of the catalogue: category, action, usual outcome.

One row a type. The category is that of the service that emits the event; where that service has
none of its own, of what the event is about. The action is the last part of the type, the verb. The
outcome is `pending` where the type alone does not tell it: a question still open, or a result that
stands in the payload.
"""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final, NamedTuple

from kubernaut.audit._event import CurrentCategory, Outcome


class EnvelopeDefaults(NamedTuple):
    """What an event of some type has in its envelope unless its sender says otherwise."""

    category: CurrentCategory
    action: str
    outcome: Outcome


_ACTIONS: Final = {"workflowexecution.block.cleared": "block_cleared"}
_ROWS: Final[tuple[tuple[str, CurrentCategory, Outcome], ...]] = (
    ("gateway.signal.received", "gateway", "success"),
    ("gateway.signal.deduplicated", "gateway", "success"),
    ("gateway.crd.created", "gateway", "success"),
    ("gateway.crd.failed", "gateway", "failure"),
    ("gateway.config.reloaded", "gateway", "success"),
    ("gateway.config.rejected", "gateway", "failure"),
    ("datastorage.ratelimit.denied", "security", "failure"),
    ("signalprocessing.signal.processed", "signalprocessing", "success"),
    ("signalprocessing.phase.transition", "signalprocessing", "success"),
    ("signalprocessing.classification.decision", "signalprocessing", "success"),
    ("signalprocessing.business.classified", "signalprocessing", "success"),
    ("signalprocessing.enrichment.completed", "signalprocessing", "success"),
    ("signalprocessing.error.occurred", "signalprocessing", "failure"),
    ("orchestrator.lifecycle.started", "orchestration", "success"),
    ("orchestrator.lifecycle.created", "orchestration", "success"),
    ("orchestrator.lifecycle.completed", "orchestration", "success"),
    ("orchestrator.lifecycle.failed", "orchestration", "failure"),
    ("orchestrator.lifecycle.verifying_started", "orchestration", "success"),
    ("orchestrator.lifecycle.verification_completed", "orchestration", "success"),
    ("orchestrator.lifecycle.verification_timed_out", "orchestration", "failure"),
    ("orchestrator.lifecycle.transitioned", "orchestration", "success"),
    ("orchestrator.approval.requested", "orchestration", "pending"),
    ("orchestrator.approval.approved", "orchestration", "success"),
    ("orchestrator.approval.rejected", "orchestration", "failure"),
    ("orchestrator.remediation.manual_review", "orchestration", "pending"),
    ("orchestrator.routing.blocked", "orchestration", "pending"),
    ("remediation.workflow_created", "orchestration", "success"),
    ("orchestrator.ea.created", "orchestration", "success"),
    ("aianalysis.analysis.completed", "analysis", "success"),
    ("aianalysis.analysis.failed", "analysis", "failure"),
    ("aianalysis.phase.transition", "analysis", "success"),
    ("aianalysis.aiagent.call", "analysis", "pending"),
    ("aianalysis.aiagent.submit", "analysis", "pending"),
    ("aianalysis.aiagent.result", "analysis", "pending"),
    ("aianalysis.approval.decision", "analysis", "success"),
    ("aianalysis.rego.evaluation", "analysis", "pending"),
    ("aianalysis.error.occurred", "analysis", "failure"),
    ("workflowexecution.workflow.started", "workflowexecution", "success"),
    ("workflowexecution.workflow.completed", "workflowexecution", "success"),
    ("workflowexecution.workflow.failed", "workflowexecution", "failure"),
    ("workflowexecution.selection.completed", "workflowexecution", "success"),
    ("workflowexecution.execution.started", "workflowexecution", "success"),
    ("workflowexecution.block.cleared", "workflowexecution", "success"),
    ("effectiveness.health.assessed", "effectiveness", "success"),
    ("effectiveness.hash.computed", "effectiveness", "success"),
    ("effectiveness.alert.assessed", "effectiveness", "success"),
    ("effectiveness.metrics.assessed", "effectiveness", "success"),
    ("effectiveness.assessment.scheduled", "effectiveness", "success"),
    ("effectiveness.assessment.completed", "effectiveness", "success"),
    ("effectiveness.alert_decay.detected", "effectiveness", "success"),
    ("webhook.notification.cancelled", "notification", "success"),
    ("webhook.notification.acknowledged", "notification", "success"),
    ("notification.message.sent", "notification", "success"),
    ("notification.message.failed", "notification", "failure"),
    ("notification.message.acknowledged", "notification", "success"),
    ("notification.message.escalated", "notification", "success"),
    ("webhook.remediationapprovalrequest.decided", "approval", "success"),
    ("webhook.remediationrequest.timeout_modified", "orchestration", "success"),
    ("remediationworkflow.admitted.create", "workflow", "success"),
    ("remediationworkflow.admitted.update", "workflow", "success"),
    ("remediationworkflow.admitted.delete", "workflow", "success"),
    ("remediationworkflow.admitted.denied", "workflow", "failure"),
    ("authwebhook.workflow.registration_failed", "workflow", "failure"),
    ("agentsession.admitted.create", "agentsession", "success"),
    ("agentsession.denied.create", "agentsession", "failure"),
    ("actiontype.admitted.create", "actiontype", "success"),
    ("actiontype.admitted.update", "actiontype", "success"),
    ("actiontype.admitted.delete", "actiontype", "success"),
    ("actiontype.denied.create", "actiontype", "failure"),
    ("actiontype.denied.update", "actiontype", "failure"),
    ("actiontype.denied.delete", "actiontype", "failure"),
    ("workflow.catalog.actions_listed", "workflow", "success"),
    ("workflow.catalog.workflows_listed", "workflow", "success"),
    ("workflow.catalog.workflow_retrieved", "workflow", "success"),
    ("workflow.catalog.selection_validated", "workflow", "success"),
    ("datastorage.workflow.created", "workflow", "success"),
    ("datastorage.workflow.updated", "workflow", "success"),
    ("datastorage.actiontype.created", "actiontype", "success"),
    ("datastorage.actiontype.updated", "actiontype", "success"),
    ("datastorage.actiontype.disabled", "actiontype", "success"),
    ("datastorage.actiontype.reenabled", "actiontype", "success"),
    ("datastorage.actiontype.disable_denied", "actiontype", "failure"),
    ("aiagent.response.complete", "aiagent", "success"),
    ("aiagent.rca.complete", "aiagent", "success"),
    ("aiagent.response.failed", "aiagent", "failure"),
    ("aiagent.enrichment.completed", "aiagent", "success"),
    ("aiagent.enrichment.failed", "aiagent", "failure"),
    ("aiagent.llm.request", "aiagent", "pending"),
    ("aiagent.llm.response", "aiagent", "success"),
    ("aiagent.llm.tool_call", "aiagent", "pending"),
    ("aiagent.workflow.validation_attempt", "aiagent", "pending"),
    ("aiagent.session.started", "aiagent", "success"),
    ("aiagent.session.completed", "aiagent", "success"),
    ("aiagent.session.failed", "aiagent", "failure"),
    ("aiagent.session.cancelled", "aiagent", "success"),
    ("aiagent.session.suspended", "aiagent", "success"),
    ("aiagent.session.resumed", "aiagent", "success"),
    ("aiagent.session.observed", "aiagent", "success"),
    ("aiagent.session.access_denied", "aiagent", "failure"),
    ("aiagent.interactive.started", "aiagent", "success"),
    ("aiagent.interactive.completed", "aiagent", "success"),
    ("aiagent.interactive.k8s_call", "aiagent", "pending"),
    ("aiagent.secret.accessed", "aiagent", "success"),
    ("aiagent.investigation.cancelled", "aiagent", "success"),
    ("aiagent.alignment.step", "aiagent", "pending"),
    ("aiagent.alignment.verdict", "aiagent", "pending"),
    ("aiagent.shadow.llm.request", "aiagent", "pending"),
    ("aiagent.shadow.llm.response", "aiagent", "pending"),
    ("aiagent.ratelimit.denied", "aiagent", "failure"),
    ("aiagent.auth.failure", "aiagent", "failure"),
    ("aiagent.auth.denied", "aiagent", "failure"),
    ("apifrontend.triage.started", "apifrontend", "success"),
    ("apifrontend.triage.completed", "apifrontend", "pending"),
    ("apifrontend.session.created", "apifrontend", "success"),
    ("apifrontend.session.completed", "apifrontend", "pending"),
    ("apifrontend.session.phase_changed", "apifrontend", "success"),
    ("apifrontend.session.deleted", "apifrontend", "success"),
    ("apifrontend.session.auto_cancelled", "apifrontend", "success"),
    ("apifrontend.session.retention_deleted", "apifrontend", "success"),
    ("apifrontend.mcp.session_init", "apifrontend", "success"),
    ("apifrontend.rr.created", "apifrontend", "success"),
    ("apifrontend.rr.deduplicated", "apifrontend", "success"),
    ("apifrontend.ka.delegated", "apifrontend", "success"),
    ("apifrontend.ka.result_received", "apifrontend", "pending"),
    ("apifrontend.user.decision", "apifrontend", "success"),
    ("apifrontend.tool.executed", "apifrontend", "pending"),
    ("apifrontend.mcp.tool_failed", "apifrontend", "failure"),
    ("apifrontend.workflow.discovery", "apifrontend", "success"),
    ("apifrontend.a2a.task_started", "apifrontend", "success"),
    ("apifrontend.a2a.task_completed", "apifrontend", "success"),
    ("apifrontend.a2a.task_failed", "apifrontend", "failure"),
    ("apifrontend.severity_triage.completed", "apifrontend", "success"),
    ("apifrontend.severity_triage.failed", "apifrontend", "failure"),
    ("apifrontend.auth.access_denied", "apifrontend", "failure"),
    ("apifrontend.auth.success", "apifrontend", "success"),
    ("apifrontend.auth.failure", "apifrontend", "failure"),
    ("apifrontend.ratelimit.denied", "apifrontend", "failure"),
    ("apifrontend.circuitbreaker.trip", "apifrontend", "failure"),
    ("apifrontend.impersonation.created", "apifrontend", "success"),
    ("apifrontend.jwt.delegation", "apifrontend", "success"),
    ("apifrontend.config.reloaded", "apifrontend", "success"),
    ("apifrontend.config.rejected", "apifrontend", "failure"),
)

ENVELOPE_DEFAULTS: Final[Mapping[str, EnvelopeDefaults]] = MappingProxyType(
    {
        event_type: EnvelopeDefaults(
            category, _ACTIONS.get(event_type, event_type.rpartition(".")[2]), outcome
        )
        for event_type, category, outcome in _ROWS
    }
)
"""Each `event_type` of the catalogue, and what surrounds its payload."""
