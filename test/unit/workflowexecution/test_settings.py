"""The operator's configuration: where it is taken from, what it accepts, how it says no."""

import os
from pathlib import Path
from typing import Any

import pytest
import yaml

from kubernaut.workflowexecution import _sections
from kubernaut.workflowexecution._policy import Policy
from kubernaut.workflowexecution._sections import listen_address, seconds_of
from kubernaut.workflowexecution._settings import (
    ENVIRONMENT_PREFIX,
    SettingsError,
    load_settings,
)


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith(ENVIRONMENT_PREFIX):
            monkeypatch.delenv(name)


def written(directory: Path, content: Any) -> Path:
    file = directory / "operator.yaml"
    file.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
    return file


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300.0),
        ("10s", 10.0),
        ("1h30m", 5400.0),
        ("1m0.5s", 60.5),
        ("250ms", 0.25),
        ("300", 300.0),
        ("0", 0.0),
        (90, 90),
        (0.5, 0.5),
    ],
)
def test_durations_are_those_of_go_and_numbers_of_seconds(text: Any, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["5 minutes", "m", "-5m", "5m ago", "", "1h30"])
def test_what_is_no_duration_is_refused_with_what_to_write(text: str) -> None:
    with pytest.raises(SettingsError, match=r"execution\.cooldownPeriod: .* write 5m, 10s"):
        load_settings(None, execution={"cooldown_period": text})


@pytest.mark.parametrize(
    ("text", "address"),
    [
        (":9090", ("", 9090)),
        ("127.0.0.1:8081", ("127.0.0.1", 8081)),
        ("[::1]:8081", ("::1", 8081)),
        ("0", None),
    ],
)
def test_addresses(text: str, address: tuple[str, int] | None) -> None:
    assert listen_address(text) == address


@pytest.mark.parametrize("text", ["9090", "localhost", ":http", ":65536", ""])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(SettingsError, match=r"controller\.metricsAddr: .* no address"):
        load_settings(None, controller={"metrics_addr": text})


def test_the_defaults_are_those_of_the_policy() -> None:
    assert load_settings().policy() == Policy()


def test_what_is_set_reaches_the_policy(tmp_path: Path) -> None:
    execution = {
        "namespace": "runs",
        "serviceAccount": "",
        "cooldownPeriod": "10s",
        "propagatedAnnotations": ["simulation.kubernaut.ai/"],
        "stalledAfter": "1m",
        "deadlineGrace": "2s",
        "trailTimeout": "2h",
        "auditSettle": "500ms",
    }
    policy = load_settings(written(tmp_path, {"execution": execution})).policy()
    assert policy.runs.namespace == "runs"
    assert policy.runs.service_account == ""
    assert policy.runs.propagated_annotations == ("simulation.kubernaut.ai/",)
    assert policy.cooldown == 10
    assert policy.stalled_after == 60
    assert policy.deadline_grace == 2
    assert policy.trail_timeout == 7200
    assert policy.settle == 0.5


def test_a_cooldown_of_0_is_the_default() -> None:
    assert load_settings(None, execution={"cooldown_period": "0s"}).policy().cooldown == 300


def test_arguments_win_over_the_environment_and_that_over_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = written(tmp_path, {"controller": {"workers": 1, "qps": 1, "burst": 1}})
    monkeypatch.setenv("KUBERNAUT_OPERATOR_CONTROLLER__WORKERS", "2")
    monkeypatch.setenv("KUBERNAUT_OPERATOR_CONTROLLER__QPS", "2")
    controller = load_settings(file, controller={"workers": 3}).controller
    assert (controller.workers, controller.qps, controller.burst) == (3, 2, 1)


def test_snake_case_in_the_file_is_read_too(tmp_path: Path) -> None:
    file = written(tmp_path, {"execution": {"cooldown_period": "1m"}})
    assert load_settings(file).execution.cooldown_period == 60


def test_every_wrong_setting_is_named(tmp_path: Path) -> None:
    content = {
        "execution": {"namespace": "Not_A_Name", "cooldown": "5m"},
        "datastorage": {"url": "datastorage:8080", "buffer": {"bufferSize": 10}},
        "controller": {"workers": 0, "leaseDuration": "10s"},
        "fleet": {},
    }
    file = written(tmp_path, content)
    with pytest.raises(SettingsError) as caught:
        load_settings(file)
    text = str(caught.value)
    assert str(file) in text
    assert "\n" not in text
    for name in (
        "execution.namespace",
        "execution.cooldown",
        "datastorage.url",
        "datastorage.buffer",
        "controller.workers",
        "fleet",
    ):
        assert f"{name}: " in text


@pytest.mark.parametrize(
    ("times", "fault"),
    [
        ({"lease_duration": 10, "renew_deadline": 10}, "longer than renewDeadline"),
        ({"renew_deadline": 2, "retry_period": 2}, "1.2 times retryPeriod"),
        ({"lease_duration": 15.5}, "whole seconds"),
    ],
)
def test_times_of_the_lease_that_do_not_fit_are_refused(times: Any, fault: str) -> None:
    with pytest.raises(SettingsError, match=f"controller: .*{fault}"):
        load_settings(None, controller=times)


@pytest.mark.parametrize(
    ("content", "fault"),
    [("- a\n", "must hold a mapping"), ("a: [\n", "is not YAML in line 2")],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, content: str, fault: str) -> None:
    with pytest.raises(SettingsError, match=fault):
        load_settings(written(tmp_path, content))


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"cannot read the configuration file .*No such file"):
        load_settings(tmp_path / "missing.yaml")


def test_what_is_printed_is_a_file_that_is_read(tmp_path: Path) -> None:
    settings = load_settings(
        None,
        execution={"cooldown_period": "1m30s", "propagated_annotations": ["a/"]},
        datastorage={"journal_directory": tmp_path},
        logging={"level": "DEBUG"},
    )
    assert load_settings(written(tmp_path, settings.to_yaml())).model_dump() == (
        settings.model_dump()
    )


def test_the_namespace_is_the_setting_or_the_pods_or_the_usual_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mounted = tmp_path / "namespace"
    monkeypatch.setattr(_sections, "_SERVICE_ACCOUNT_NAMESPACE", mounted)
    assert load_settings().controller.own_namespace() == "kubernaut-system"
    mounted.write_text("platform\n")
    assert load_settings().controller.own_namespace() == "platform"
    chosen = load_settings(None, controller={"namespace": "mine"})
    assert chosen.controller.own_namespace() == "mine"


def test_the_journal_is_where_the_user_of_the_process_keeps_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen = load_settings(None, datastorage={"journal_directory": tmp_path})
    assert chosen.datastorage.journal() == tmp_path
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert load_settings().datastorage.journal() == Path("/var/lib/kubernaut/operator")
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    assert load_settings().datastorage.journal() == tmp_path / "kubernaut" / "operator"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert load_settings().datastorage.journal() == Path(
        "/home/somebody/.local/state/kubernaut/operator"
    )
