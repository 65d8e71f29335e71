"""From facts to reasons: the cases of the catalogue, and texts that only look like a reason."""

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kubernaut.workflowexecution._api import Reason
from kubernaut.workflowexecution._summary import RECOMMENDATIONS, summary
from kubernaut.workflowexecution.engines import Failure
from kubernaut.workflowexecution.engines._classify import Facts, classify, rule_for
from kubernaut.workflowexecution.engines._rules import RULES, Where

WORDS = sorted({word for rule in RULES for word in rule.words})
PHRASES = sorted({phrase for rule in RULES for phrase in rule.phrases})
FREE_PHRASES = sorted({phrase for rule in RULES if not rule.where for phrase in rule.phrases})
WHERES: tuple[Where, ...] = get_args(Where)


def said(text: str) -> Reason:
    return rule_for(Facts(text=text)).reason


@pytest.mark.parametrize(
    ("word", "text", "started", "reason", "acted"),
    [
        ("TaskRunFailed", "task failed with exit code 1", True, "TaskFailed", True),
        ("TaskRunFailed", "task failed: OOMKilled", True, "OOMKilled", True),
        (
            "PipelineRunTimeout",
            "PipelineRun exceeded timeout of 10 minutes",
            True,
            "DeadlineExceeded",
            True,
        ),
        (
            "TaskRunFailed",
            'task failed: pods is forbidden: User "x" cannot list resource "pods"',
            True,
            "Forbidden",
            True,
        ),
        (
            "TaskRunCreationFailed",
            "exceeded quota: compute resources",
            False,
            "ResourceExhausted",
            False,
        ),
        (
            "TaskRunValidationFailed",
            "invalid configuration: missing required parameter",
            False,
            "ConfigurationError",
            False,
        ),
        (
            "TaskRunImagePullFailed",
            "Failed to pull image: image pull backoff",
            False,
            "ImagePullBackOff",
            False,
        ),
        ("PipelineRunFailed", "unexpected error occurred", False, "Unknown", False),
    ],
)
def test_the_cases_of_the_catalogue(
    word: str,
    text: str,
    started: bool,  # noqa: FBT001  (a column)
    reason: Reason,
    acted: bool,  # noqa: FBT001  (a column)
) -> None:
    facts = Facts(words=frozenset({("pipeline", word)}), text=text, started=started)
    assert classify(facts) == (reason, acted)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("container was OOMKilled", "OOMKilled"),
        ("the process ran Out of Memory.", "OOMKilled"),
        ("killed: OOM", "OOMKilled"),
        ('pods "x" is forbidden: exceeded quota: none, requested: pods=1', "ResourceExhausted"),
        ("The node was low on resource: memory.", "ResourceExhausted"),
        ("open /etc/shadow: permission denied", "Forbidden"),
        ("context deadline exceeded", "DeadlineExceeded"),
        ("the rollout timed out", "DeadlineExceeded"),
        ("Failed to pull image: manifest unknown", "ImagePullBackOff"),
        ('Error: secret "token" not found', "ConfigurationError"),
        ('serviceaccount "nope" not found', "ConfigurationError"),
        ("invalid value", "ConfigurationError"),
        ("Task deploy has failed", "TaskFailed"),
    ],
)
def test_free_text_is_understood(text: str, reason: Reason) -> None:
    assert said(text) == reason
    assert said(text.upper()) == reason


@pytest.mark.parametrize(
    "text",
    [
        "no room left in the meeting, zoom in",
        "the cache was invalidated",
        "failover forbiddenness",
        "step-quota of wfe-1234-oom ended",
        "flags --timeout=30 and timeout=5",
        "see quota.example.test/oom for more",
        "the timeouts were not reached",
        "the deployment was not found",
        "reconfiguration is over",
        "image pulls went well",
        "",
    ],
)
def test_what_only_looks_like_a_reason_is_none(text: str) -> None:
    assert said(text) == "Unknown"


def test_a_connections_timeout_is_not_the_runs() -> None:
    assert said("dial tcp 10.0.0.1:443: i/o timeout") == "TaskFailed"


@pytest.mark.parametrize("phrase", FREE_PHRASES)
def test_every_phrase_is_found_in_a_sentence(phrase: str) -> None:
    found = phrase.replace("*", 'a "b"')
    rule = rule_for(Facts(text=f"so: {found}, it said"))
    assert rule.reason in {one.reason for one in RULES if phrase in one.phrases}


def test_no_rule_is_dead() -> None:
    for number, rule in enumerate(RULES):
        text = rule.phrases[-1].replace("*", "x") if rule.phrases else ""
        reached = [
            rule_for(
                Facts(
                    words=frozenset({(rule.where, word)}) if rule.where else frozenset(), text=text
                )
            )
            for word in rule.words or ("",)
        ]
        assert rule in reached, f"rule {number} is never reached: {rule}"


def test_fixed_words_lead_and_say_whether_it_acted() -> None:
    # A step's own text speaks of a quota; the kubelet says what it was.
    facts = Facts(
        words=frozenset({("container", "OOMKilled"), ("task", "StepFailed")}),
        text="quota invalid",
        started=True,
    )
    assert classify(facts) == ("OOMKilled", True)
    refused = Facts(words=frozenset({("task", "PodAdmissionFailed")}), started=True, has_tasks=True)
    assert classify(refused) == ("Forbidden", False)
    lost = Facts(words=frozenset({("pipeline", "CouldntGetPipelineResult")}), started=True)
    assert classify(lost) == ("ConfigurationError", True)


def test_what_has_run_may_have_acted_whatever_the_reason() -> None:
    facts = Facts(words=frozenset({("task", "TaskRunImagePullFailed")}), started=True, ran=True)
    assert classify(facts) == ("ImagePullBackOff", True)


@given(
    words=st.frozensets(
        st.tuples(st.sampled_from(WHERES), st.one_of(st.sampled_from(WORDS), st.text(max_size=20)))
    ),
    text=st.lists(st.one_of(st.sampled_from(PHRASES), st.text(max_size=40))).map(" ".join),
    started=st.booleans(),
    has_tasks=st.booleans(),
    ran=st.booleans(),
)
def test_there_is_always_a_reason_of_the_api(
    words: frozenset[tuple[Where, str]],
    text: str,
    started: bool,  # noqa: FBT001  (drawn)
    has_tasks: bool,  # noqa: FBT001  (drawn)
    ran: bool,  # noqa: FBT001  (drawn)
) -> None:
    facts = Facts(words=words, text=text, started=started, has_tasks=has_tasks, ran=ran)
    reason, acted = classify(facts)
    assert reason in get_args(Reason)
    assert acted or not ran


def test_a_long_text_takes_no_time() -> None:
    text = "serviceaccount task failed " * 20_000
    assert said(text) == "TaskFailed"


@pytest.mark.parametrize("reason", get_args(Reason))
def test_a_summary_says_what_why_and_what_to_do(reason: Reason) -> None:
    failure = Failure(reason=reason, message="it broke", was_execution_failure=True)
    assert summary("restart", "default/Deployment/app", failure, "2m30s") == (
        "Workflow 'restart' failed on target 'default/Deployment/app'.\n"
        f"Reason: {reason}\n"
        "Error: it broke\n"
        "Failed after: 2m30s\n"
        f"Recommendation: {RECOMMENDATIONS[reason]}\n"
    )


def test_a_summary_leaves_out_what_is_not_known() -> None:
    failure = Failure(reason="Unknown", message="", was_execution_failure=False)
    for nothing in (None, ""):
        lines = summary("restart", "Node/a", failure, nothing).splitlines()
        assert [line.partition(":")[0] for line in lines[1:]] == ["Reason", "Recommendation"]
