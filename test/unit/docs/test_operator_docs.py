"""The pages on the operator and its settings, metrics, log lines and rights are the same."""

import re
from pathlib import Path
from typing import Any, Final, Literal, get_args, get_origin

import pytest
import yaml
from prometheus_client import CollectorRegistry

from kubernaut.workflowexecution import Settings, load_settings, rbac
from kubernaut.workflowexecution._metrics import OperatorMetrics
from kubernaut.workflowexecution._permissions import PERMISSIONS, Place
from kubernaut.workflowexecution._sections import listen_address, seconds_of
from kubernaut.workflowexecution._settings import ENVIRONMENT_PREFIX
from test.unit.docs.declared import Declared, fields_of, log_lines_of
from test.unit.docs.pages import ROOT, all_pages, blocks, codes, read, rows, table

CONFIGURATION: Final = "reference/operator-configuration"
METRICS: Final = read("reference/operator-metrics")
SOURCES: Final = ROOT / "src/kubernaut/workflowexecution"
METRIC_COLUMNS: Final = 4
LABEL_COLUMNS: Final = 2


class Setting(Declared):
    prefix = ENVIRONMENT_PREFIX

    @property
    def is_duration(self) -> bool:
        return any(getattr(item, "func", None) is seconds_of for item in self.field.metadata)

    @property
    def words(self) -> tuple[str, ...]:
        """The words that it may be, where it is one of some."""
        kinds = (self.field.annotation, *get_args(self.field.annotation))
        return next((get_args(kind) for kind in kinds if get_origin(kind) is Literal), ())

    @property
    def bounds(self) -> set[float]:
        """The numbers that limit the value."""
        return {
            float(getattr(item, name))
            for item in self.field.metadata
            for name in ("gt", "ge", "lt", "le")
            if hasattr(item, name)
        }

    def other_value(self) -> Any:
        """A valid value that is not the default, as it is written."""
        default = self.field.default
        if self.words:
            return next(word for word in self.words if word != default)
        if isinstance(default, bool):
            return not default
        if isinstance(default, tuple):
            return ["example.com/"]
        if self.is_duration:
            # The times of the lease must fit each other.
            return f"{default + (1 if self.path[-1] == 'lease_duration' else 0.5):g}s"
        if isinstance(default, int | float):
            return int(default) + 1
        special = {"url": "https://elsewhere", "addr": "127.0.0.1:9"}
        return special.get(self.path[-1].rpartition("_")[2], "elsewhere")


SETTINGS: Final = [Setting(*found) for found in fields_of(Settings)]
DOCUMENTED: Final = {codes(row[0])[0]: row for row in rows(read(CONFIGURATION))}


def test_every_setting_is_documented_in_its_order_and_nothing_else() -> None:
    assert list(DOCUMENTED) == [setting.name for setting in SETTINGS]


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_name_default_and_range(setting: Setting) -> None:
    _, variable, default, permitted, meaning = DOCUMENTED[setting.name]
    assert codes(variable) == [setting.variable]
    shown = default.partition(" (")[0].strip("`")
    expected = setting.field.default
    if setting.is_duration:
        assert seconds_of(shown) == expected
        assert {seconds_of(code) for code in codes(permitted)} == setting.bounds
    elif isinstance(expected, bool):
        assert shown == str(expected).lower()
    elif expected in (None, ()):
        assert shown == "none"
    else:
        assert shown == str(expected)
    if setting.words:
        assert codes(permitted) == list(setting.words)
    elif isinstance(expected, int | float) and not isinstance(expected, bool | str):
        numbers = codes(permitted) if setting.is_duration else re.findall(r"\d+", permitted)
        assert {float(seconds_of(number)) for number in numbers} == setting.bounds
    assert meaning


@pytest.mark.parametrize("setting", SETTINGS, ids=lambda setting: setting.name)
def test_the_documented_names_work(
    setting: Setting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for other in SETTINGS:
        monkeypatch.delenv(other.variable, raising=False)
    content = setting.other_value()
    text = str(content) if not isinstance(content, list) else '["example.com/"]'
    monkeypatch.setenv(setting.variable, text)
    from_environment = load_settings().model_dump()
    monkeypatch.delenv(setting.variable)
    for part in reversed(codes(DOCUMENTED[setting.name][0])[0].split(".")):
        content = {part: content}
    file = tmp_path / "settings.yaml"
    file.write_text(yaml.safe_dump(content))
    assert load_settings(file).model_dump() == from_environment
    assert load_settings().model_dump() != from_environment


def test_the_examples_are_valid(tmp_path: Path) -> None:
    examples = blocks(read(CONFIGURATION), "yaml") + [
        example
        for example in blocks(read("how-to/run-the-operator"), "yaml")
        if "apiVersion" not in example
    ]
    assert len(examples) > 1
    for number, example in enumerate(examples):
        file = tmp_path / f"{number}.yaml"
        file.write_text(example)
        load_settings(file)


def test_the_ports_of_the_guide_are_the_defaults() -> None:
    controller = load_settings().controller
    guide = read("how-to/run-the-operator")
    assert listen_address(controller.health_probe_addr) == ("", 8081)
    assert listen_address(controller.metrics_addr) == ("", 9090)
    assert "on port 8081" in guide
    assert "on port 9090" in guide
    assert f"terminationGracePeriodSeconds: {controller.shutdown_timeout + 10:g}" in guide


def shown_metric(name: str, kind: str) -> str:
    return f"{name}_total" if kind == "counter" else name


def families() -> dict[str, tuple[str, set[str]]]:
    """Type and labels of each metric, by the name that is shown."""
    registry = CollectorRegistry()
    OperatorMetrics(registry)
    return {
        shown_metric(family.name, family.type): (
            family.type,
            {label for sample in family.samples for label in sample.labels} - {"le"},
        )
        for family in registry.collect()
    }


def test_every_metric_is_documented_with_its_type_and_labels_and_nothing_else() -> None:
    documented = {
        codes(row[0])[0]: (row[1], set(codes(row[2])))
        for row in table(METRICS, "Operator")
        if len(row) == METRIC_COLUMNS
    }
    assert documented == families()


def test_every_label_has_all_its_values() -> None:
    registry = CollectorRegistry()
    OperatorMetrics(registry)
    values: dict[str, set[str]] = {}
    for family in registry.collect():
        for sample in family.samples:
            for label, value in sample.labels.items():
                values.setdefault(label, set()).add(value)
    values.pop("le")
    documented = {
        codes(row[0])[0]: set(codes(row[1]))
        for row in table(METRICS, "Operator")
        if len(row) == LABEL_COLUMNS
    }
    assert documented == values


def test_no_page_names_a_metric_that_does_not_exist() -> None:
    known = set(families())
    known |= {f"{name}{end}" for name in known for end in ("_bucket", "_sum", "_count")}
    for path in all_pages():
        text = path.read_text(encoding="utf-8")
        named = set(re.findall(r"(?<![\w./])workflowexecution_[a-z_]+\b", text))
        assert named <= known, path


def test_every_line_is_documented_with_its_level_and_members() -> None:
    page = read("reference/operator-logs")
    documented = {
        (codes(row[0])[0], row[1], frozenset(codes(row[2])))
        for row in table(page, "Messages about the process")
    }
    assert documented == log_lines_of(SOURCES)


def test_every_logger_is_documented() -> None:
    names = set()
    for package in (SOURCES, ROOT / "src/kubernaut/kubernetes", ROOT / "src/kubernaut/audit"):
        for path in package.rglob("*.py"):
            names |= set(re.findall(r'getLogger\("(kubernaut[\w.]*)"\)', path.read_text()))
    names.discard("kubernaut")  # Its level is set; nobody writes to it.
    page = read("reference/operator-logs")
    assert {codes(row[0])[0] for row in table(page, "Messages of its parts")} == names


def granted() -> set[tuple[Place, str, str, str, str]]:
    """Place, group, resource, name and verb of everything that the manifests give the operator."""
    found: set[tuple[Place, str, str, str, str]] = set()
    places: dict[str, Place] = {"kubernaut-system": "own", "kubernaut-workflows": "executions"}
    for one in rbac():
        name = one["metadata"]["name"]
        if one["kind"] not in ("Role", "ClusterRole") or "operator" not in name:
            continue
        place = places[one["metadata"]["namespace"]] if one["kind"] == "Role" else "watched"
        found |= {
            (place, group, resource, object_name, verb)
            for rule in one["rules"]
            for group in rule["apiGroups"]
            for resource in rule["resources"]
            for object_name in rule.get("resourceNames", [""])
            for verb in rule["verbs"]
        }
    return found


def test_what_is_asked_at_the_start_is_what_the_manifests_grant() -> None:
    assert {
        (permission.place, permission.group, permission.resource, permission.name, verb)
        for permission in PERMISSIONS
        for verb in permission.verbs
    } == granted()
