"""Both engines against the real API server: Jobs by the real controller, PipelineRuns by Tekton."""

import asyncio
import uuid
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from kubernaut.kubernetes import (
    NAMESPACES,
    AlreadyExistsError,
    Client,
    ClientConfig,
    KubernetesObject,
    Namespace,
    ObjectMeta,
    ObjectReference,
    Reflector,
    Resource,
)
from kubernaut.local import LocalCluster
from kubernaut.workflowexecution._names import (
    ENGINE_LABEL,
    EXECUTION_ANNOTATION,
    UID_LABEL,
)
from kubernaut.workflowexecution._run import Run
from kubernaut.workflowexecution.engines import (
    JOB_PODS,
    JOBS,
    PIPELINE_RUNS,
    TASK_RUNS,
    Child,
    Engine,
    JobEngine,
    Owner,
    TektonEngine,
)
from test.polling import async_wait_for

STEP = {"name": "run", "image": "example.test/step:1", "command": ["/bin/true"]}
PIPELINE = {
    "apiVersion": "tekton.dev/v1",
    "kind": "Pipeline",
    "metadata": {"name": "workflow"},
    "spec": {
        "params": [{"name": "TARGET_RESOURCE", "type": "string"}],
        "tasks": [{"name": "main", "taskSpec": {"steps": [STEP]}}],
    },
}
NAME = "wfe-c00449355dfb987a"


class WrittenEvent(KubernetesObject, frozen=True, kw_only=True):
    """`core/v1.Event`, as a kubelet writes it."""

    reason: str
    message: str
    involved_object: ObjectReference


CORE_EVENTS = Resource("", "v1", "events", "Event", True, WrittenEvent)


async def new_client(cluster: LocalCluster) -> AsyncIterator[Client]:
    config = ClientConfig.load(cluster.kubeconfig_path)
    async with Client(config, field_manager="test", qps=0) as made:
        yield made


@pytest.fixture
async def client(local_cluster: LocalCluster) -> AsyncIterator[Client]:
    """Of the cluster without Tekton."""
    async for made in new_client(local_cluster):
        yield made


@pytest.fixture
async def tekton_client(tekton_cluster: LocalCluster) -> AsyncIterator[Client]:
    """Of the cluster with Tekton."""
    async for made in new_client(tekton_cluster):
        yield made


async def jobs_in(client: Client, level: str = "restricted") -> JobEngine:
    """The engine, in a namespace of the Pod Security level that operators use."""
    labels = {"pod-security.kubernetes.io/enforce": level}
    namespace = f"test-{uuid.uuid4().hex[:12]}"
    await client.create(NAMESPACES, Namespace(metadata=ObjectMeta(name=namespace, labels=labels)))
    return JobEngine(client, JobEngine.reflector(client, namespace), namespace)


async def pipelines_in(client: Client) -> TektonEngine:
    namespace = f"test-{uuid.uuid4().hex[:12]}"
    await client.create(NAMESPACES, Namespace(metadata=ObjectMeta(name=namespace)))
    return TektonEngine(client, TektonEngine.reflector(client, namespace), namespace)


def a_run(engine: JobEngine | TektonEngine, *, uid: str = "u1", **simulated: str) -> Run:
    return Run(
        engine=engine.name,
        name=NAME,
        namespace=engine._namespace,
        bundle="example.test/workflow:1",
        target="default/deployment/my-app",
        parameters={"REASON": "memory"},
        labels={UID_LABEL: uid, ENGINE_LABEL: engine.name},
        annotations={
            EXECUTION_ANNOTATION: "default/restart-1",
            **{f"simulation.kubernaut.ai/{key}": text for key, text in simulated.items()},
        },
    )


async def over(engine: Engine, timeout: float = 30) -> Child:  # noqa: ASYNC109  (passed on)
    async def look() -> Child | None:
        child = await engine.observe(NAME)
        return child if child and child.is_over else None

    found = await async_wait_for(look, timeout, "the child's end")
    assert found is not None
    return found


async def released(engine: Engine, uid: str | None, timeout: float = 30) -> None:  # noqa: ASYNC109  (passed on)
    await async_wait_for(lambda: engine.cleanup(NAME, uid), timeout, "nothing is left")


async def there(client: Client, resource: Resource[Any], namespace: str) -> list[str]:
    pages = client.list(resource, namespace=namespace)
    return [one.metadata.name async for page in pages for one in page.items]


async def test_a_job_from_its_creation_to_its_release(client: Client) -> None:
    engine = await jobs_in(client)
    assert await engine.observe(NAME) is None
    created = await engine.create(a_run(engine))
    assert (created.state, created.resource, created.name) == ("Waiting", "Job", NAME)
    assert created.owner == Owner("default", "restart-1", "u1")
    with pytest.raises(AlreadyExistsError):
        await engine.create(a_run(engine, uid="u2"))
    done = await over(engine)
    assert (done.state, done.uid, done.created) == ("Succeeded", created.uid, created.created)
    assert done.finished_at is not None
    assert (done.completed_tasks, done.total_tasks, done.retries) == (1, 1, 0)
    assert await engine.cleanup(NAME, "another") is True, "nothing of another is left"
    assert await engine.observe(NAME) is not None, "another uid's cleanup leaves it alone"
    await released(engine, done.uid)
    assert await there(client, JOBS, done.namespace) == []
    assert await there(client, JOB_PODS, done.namespace) == []
    assert await engine.cleanup(NAME, None) is True


async def test_a_job_that_fails_says_why(client: Client) -> None:
    engine = await jobs_in(client)
    asked = a_run(engine, **{"exit-code": "3", "reason": "Error", "message": "disk full"})
    await engine.create(asked)
    child = await over(engine)
    assert (child.state, child.reason) == ("Failed", "BackoffLimitExceeded")
    failure = await engine.explain(child)
    assert (failure.reason, failure.exit_code, failure.step_name) == ("TaskFailed", 3, "workflow")
    assert failure.was_execution_failure
    assert "exited with code 3: Error: disk full" in failure.message


async def test_a_job_out_of_memory_is_tried_again_until_its_deadline(client: Client) -> None:
    engine = await jobs_in(client)
    asked = a_run(engine, **{"exit-code": "137", "reason": "OOMKilled"})
    await engine.create(replace(asked, times_out_at=datetime.now(UTC) + timedelta(seconds=14)))
    child = await over(engine, 60)
    assert (child.state, child.reason) == ("Failed", "DeadlineExceeded")
    assert child.retries >= 1
    failure = await engine.explain(child)
    assert (failure.reason, failure.exit_code) == ("OOMKilled", 137)


async def test_a_job_out_of_time_is_explained_by_the_events_of_its_pod(client: Client) -> None:
    engine = await jobs_in(client)
    asked = a_run(engine, waiting="ContainerCreating")
    created = await engine.create(
        replace(asked, times_out_at=datetime.now(UTC) + timedelta(seconds=4))
    )
    (pod,) = await async_wait_for(
        lambda: there(client, JOB_PODS, created.namespace), 20, "the Job's pod"
    )
    note = 'MountVolume.SetUp failed for volume "secret-token": secret "token" not found'
    await client.create(
        CORE_EVENTS,
        WrittenEvent(
            metadata=ObjectMeta(name="mount", namespace=created.namespace),
            reason="FailedMount",
            message=note,
            involved_object=ObjectReference(kind="Pod", name=pod, namespace=created.namespace),
        ),
    )
    child = await over(engine)
    assert (child.state, child.reason) == ("Failed", "DeadlineExceeded")
    failure = await engine.explain(child)
    assert (failure.reason, failure.was_execution_failure) == ("ConfigurationError", False)
    assert note in failure.message


async def test_a_job_whose_pod_is_refused_says_what_refused_it(client: Client) -> None:
    engine = await jobs_in(client)
    asked = replace(a_run(engine), service_account="nope")
    await engine.create(replace(asked, times_out_at=datetime.now(UTC) + timedelta(seconds=3)))
    child = await over(engine)
    failure = await engine.explain(child)
    assert (failure.reason, failure.was_execution_failure) == ("ConfigurationError", False)
    assert "FailedCreate" in failure.message
    assert "nope" in failure.message


async def test_a_job_that_is_stopped_ends_its_pod_and_stays(client: Client) -> None:
    engine = await jobs_in(client)
    await engine.create(a_run(engine, hang="true"))

    async def begun() -> Child | None:
        child = await engine.observe(NAME)
        return child if child and child.begun else None

    running = await async_wait_for(begun, 20, "the pod runs")
    assert running
    assert running.state == "Running"
    await engine.stop(replace(running, uid="another"))
    untouched = await engine.observe(NAME)
    assert untouched
    assert not untouched.stopping
    await engine.stop(running)
    child = await over(engine)
    assert (child.state, child.reason, child.stopping) == ("Failed", "Stopped", True)
    assert await there(client, JOB_PODS, child.namespace) == []
    await engine.stop(child)
    await released(engine, child.uid)
    await engine.stop(running)


async def test_what_is_left_of_a_job_keeps_its_name_until_it_has_ended(client: Client) -> None:
    engine = await jobs_in(client)
    created = await engine.create(a_run(engine, hang="true"))
    namespace = created.namespace
    (pod,) = await async_wait_for(lambda: there(client, JOB_PODS, namespace), 20, "the Job's pod")
    await client.delete(JOBS, NAME, namespace=namespace, propagation="Orphan")

    async def orphaned() -> bool:
        return await engine.observe(NAME) is None

    await async_wait_for(orphaned, 20, "the Job is gone")
    assert await engine.cleanup(NAME, None) is False
    assert await engine.cleanup(NAME, created.uid) is False
    goes_on = {"metadata": {"annotations": {"simulation.kubernaut.ai/hang": None}}}
    await client.patch(JOB_PODS, pod, goes_on, namespace=namespace)
    await released(engine, created.uid)
    assert await there(client, JOB_PODS, namespace) == [pod]


async def test_a_pipeline_run_from_its_creation_to_its_release(
    tekton_cluster: LocalCluster, tekton_client: Client
) -> None:
    engine = await pipelines_in(tekton_client)
    bundle = tekton_cluster.push_bundle("workflows/engines", [PIPELINE])
    ends = datetime.now(UTC) + timedelta(hours=2)
    asked = replace(a_run(engine), bundle=bundle, times_out_at=ends, secrets=("token",))
    assert await engine.observe(NAME) is None
    created = await engine.create(asked)
    assert (created.state, created.resource, created.begun) == ("Waiting", "PipelineRun", False)
    with pytest.raises(AlreadyExistsError):
        await engine.create(asked)
    done = await over(engine)
    assert (done.state, done.completed_tasks, done.total_tasks) == ("Succeeded", 1, 1)
    assert (done.owner, done.begun) == (Owner("default", "restart-1", "u1"), True)
    assert done.finished_at is not None
    assert done.seen.spec["timeouts"]["pipeline"] in ("1h59m59s", "1h59m58s", "2h0m0s")
    assert await engine.cleanup(NAME, "another") is True, "nothing of another is left"
    assert await engine.observe(NAME) is not None
    await engine.stop(replace(done, state="Running"))  # Tekton refuses it: it is over.
    await released(engine, done.uid)
    assert await there(tekton_client, PIPELINE_RUNS, done.namespace) == []
    assert await there(tekton_client, TASK_RUNS, done.namespace) == []


async def test_a_pipeline_run_that_fails_says_why(
    tekton_cluster: LocalCluster, tekton_client: Client
) -> None:
    engine = await pipelines_in(tekton_client)
    bundle = tekton_cluster.push_bundle("workflows/engines", [PIPELINE])
    await engine.create(replace(a_run(engine, **{"exit-code": "1"}), bundle=bundle))
    child = await over(engine)
    failure = await engine.explain(child)
    assert (failure.reason, failure.exit_code) == ("TaskFailed", 1)
    assert failure.message == (
        f"task main (TaskRun {NAME}-main) step run exited with code 1: Error"
    )
    await released(engine, child.uid)
    missing = f"{tekton_cluster.registry}/workflows/none:1"
    await engine.create(replace(a_run(engine), bundle=missing))
    failure = await engine.explain(await over(engine))
    assert (failure.reason, failure.was_execution_failure) == ("ImagePullBackOff", False)
    assert "NAME_UNKNOWN" in failure.message


async def test_a_pipeline_run_that_is_stopped_stays(
    tekton_cluster: LocalCluster, tekton_client: Client
) -> None:
    engine = await pipelines_in(tekton_client)
    bundle = tekton_cluster.push_bundle("workflows/engines", [PIPELINE])
    await engine.create(replace(a_run(engine, hang="true"), bundle=bundle))

    async def begun() -> Child | None:
        child = await engine.observe(NAME)
        return child if child and child.begun else None

    running = await async_wait_for(begun, 20, "a task runs")
    assert running
    await engine.stop(replace(running, uid="another"))
    untouched = await engine.observe(NAME)
    assert untouched
    assert not untouched.stopping
    await engine.stop(running)
    child = await over(engine)
    assert (child.state, child.reason, child.stopping) == ("Failed", "Cancelled", True)
    failure = await engine.explain(child)
    assert failure.reason == "Unknown"
    assert "was cancelled" in failure.message
    await released(engine, child.uid)
    await engine.stop(running)


async def test_the_same_name_again_runs_its_own_task(
    tekton_cluster: LocalCluster, tekton_client: Client
) -> None:
    # Deleted in the background, a PipelineRun leaves TaskRuns that its successor would adopt.
    engine = await pipelines_in(tekton_client)
    bundle = tekton_cluster.push_bundle("workflows/engines", [PIPELINE])
    tasks: set[str] = set()
    for turn in range(6):
        code = str(turn % 2)  # The other outcome each time: a task that was adopted would show.
        asked = replace(a_run(engine, uid=f"u{turn}", **{"exit-code": code}), bundle=bundle)
        created = await engine.create(asked)
        done = await over(engine)
        assert (done.uid, done.state) == (created.uid, ("Succeeded", "Failed")[turn % 2])
        task = await tekton_client.get(TASK_RUNS, f"{NAME}-main", done.namespace)
        tasks.add(task.metadata.uid)
        await released(engine, done.uid)
    assert len(tasks) == 6


async def test_task_runs_of_another_are_not_what_is_left(
    tekton_cluster: LocalCluster, tekton_client: Client
) -> None:
    engine = await pipelines_in(tekton_client)
    bundle = tekton_cluster.push_bundle("workflows/engines", [PIPELINE])
    await engine.create(replace(a_run(engine), bundle=bundle))
    first = await over(engine)
    await tekton_client.delete(PIPELINE_RUNS, NAME, namespace=first.namespace, propagation="Orphan")

    async def orphaned() -> bool:
        return await engine.observe(NAME) is None

    await async_wait_for(orphaned, 60, "the PipelineRun is gone")
    assert await engine.cleanup(NAME, first.uid) is False
    await tekton_client.delete(TASK_RUNS, f"{NAME}-main", namespace=first.namespace)
    await released(engine, None)
    second = await engine.create(replace(a_run(engine, uid="u2"), bundle=bundle))
    await over(engine)
    assert await engine.cleanup(NAME, first.uid) is True
    assert await engine.cleanup(NAME, None) is True
    still = await engine.observe(NAME)
    assert still
    assert still.uid == second.uid


async def test_the_watch_sees_children_with_labels_and_a_live_look_all(client: Client) -> None:
    engine = await jobs_in(client)
    watch = engine.children
    assert isinstance(watch, Reflector)
    running = asyncio.create_task(watch.run())
    try:
        created = await engine.create(replace(a_run(engine), labels={}, annotations={}))
        other = await engine.create(replace(a_run(engine, hang="true"), name="wfe-other"))

        async def seen() -> Child | None:
            return engine.cached("wfe-other")

        cached = await async_wait_for(seen, 20, "the watch sees it")
        assert cached
        assert (cached.uid, cached.owner) == (other.uid, Owner("default", "restart-1", "u1"))
        assert engine.cached(NAME) is None
        live = await engine.observe(NAME)
        assert live
        assert (live.uid, live.owner) == (created.uid, None)
    finally:
        running.cancel()
