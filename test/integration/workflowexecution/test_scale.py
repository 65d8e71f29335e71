"""2,000 WorkflowExecutions on 2,000 targets, 500 of them running at one time.

All end as they should, with one child and a whole trail each. What the operator asks of the API
server is counted in the API server's own audit log. The control plane, DataStorage and its database
are this test's alone.
"""

import json
import time
from collections import Counter
from pathlib import Path
from typing import Final

from kubernaut.local.cluster import tekton_kinds
from kubernaut.workflowexecution import crd
from test.datastorage_service import DataStorageProcess
from test.integration.workflowexecution.conftest import operators_of, own_namespaces
from test.integration.workflowexecution.crowd import Crowd
from test.kubernetes_cluster import StartCluster
from test.operator_process import ACCOUNT
from test.reporting import Report
from test.workflow_executions import COMPLETED

ALL: Final = 2000
AT_ONCE: Final = 500
MOST_REQUESTS: Final = 15
MOST_GROWTH: Final = 64
"""MiB, for 2,000 objects in the caches and 8,000 events that went through."""
DEFAULTS: Final = {"cooldown_period": 300, "audit_settle": 5}
LEASE: Final = {"lease_duration": 60, "renew_deadline": 40, "retry_period": 2}
"""A machine that is busy with all this must not cost the leader its lease."""
CONTROLLER: Final = "workflowexecution-controller"
PATIENCE: Final = 300.0
POLICY: Final = {
    "apiVersion": "audit.k8s.io/v1",
    "kind": "Policy",
    "omitStages": ["RequestReceived"],
    "rules": [
        {"level": "Metadata", "userGroups": ["system:serviceaccounts"]},
        {"level": "None"},
    ],
}


def requests_of(user: str, log: Path) -> Counter[str]:
    """What a user asked of the API server, by verb and resource.

    Watches and leases are left out: they go by time, not by what there is to do.
    """
    found: Counter[str] = Counter()
    with log.open() as lines:
        for line in lines:
            event = json.loads(line)
            about = event.get("objectRef", {})
            resource = about.get("resource", "")
            if event["user"]["username"] == user and event["verb"] != "watch":
                part = f"/{about['subresource']}" if "subresource" in about else ""
                found[f"{event['verb']} {resource}{part}"] += 1
    return +Counter({key: number for key, number in found.items() if not key.endswith(" leases")})


def test_2000_executions_500_at_once(
    start_cluster: StartCluster,
    service: DataStorageProcess,
    migrated_url: str,
    tmp_path: Path,
    report: Report,
) -> None:
    policy, log = tmp_path / "policy.json", tmp_path / "audit.log"
    policy.write_text(json.dumps(POLICY))
    cluster = start_cluster(
        scheduler=False,
        kwok=False,
        crds=[crd(), *tekton_kinds()],
        apiserver_flags=[f"--audit-policy-file={policy}", f"--audit-log-path={log}"],
    )
    executions = own_namespaces(cluster)
    own = f"{executions.namespace}-operator"
    with operators_of(executions, service.url, tmp_path) as start, Crowd(executions) as crowd:
        operator = start(execution=DEFAULTS, controller=LEASE)
        empty, began = operator.memory(), time.monotonic()
        for wave in range(ALL // AT_ONCE):
            crowd.hold()
            crowd.create(AT_ONCE)
            crowd.wait(
                lambda: crowd.count("Running") == AT_ONCE, PATIENCE, f"{AT_ONCE} run in wave {wave}"
            )
            crowd.end()
            crowd.wait_ended(PATIENCE)
        took = time.monotonic() - began
        crowd.wait_audited(PATIENCE)
        crowd.assert_completed_once()
        full, cpu = operator.memory(), operator.cpu()
        # Events that wait to be written count too.
        events = operator.metric("workqueue_adds_total", name=f"events-{CONTROLLER}")

    found = crowd.trails(migrated_url)
    wrong = {name: found.get(name) for name in crowd.names if found.get(name) != COMPLETED}
    assert not wrong, dict(list(wrong.items())[:5])
    assert len(found) == ALL
    for name in crowd.names[::50]:
        assert service.verify(crowd.correlation_id(name))["is_valid"], name

    asked = requests_of(f"system:serviceaccount:{own}:{ACCOUNT}", log)
    asked["create events"] = max(asked["create events"], round(events))
    each = asked.total() / ALL
    kinds = ", ".join(f"{number / ALL:.2f} {what}" for what, number in asked.most_common(5))
    report(
        f"{ALL} runs, {AT_ONCE} at once: {took:.0f} s, {ALL / took:.1f} a second;"
        f" {each:.1f} requests for each ({kinds});"
        f" {empty / 2**20:.0f} MiB before, {full / 2**20:.0f} MiB after; {cpu:.0f} s of CPU"
    )
    assert each <= MOST_REQUESTS
    assert (full - empty) / 2**20 <= MOST_GROWTH
