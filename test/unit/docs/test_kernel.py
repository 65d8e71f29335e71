"""The pages on the reconciler kernel and its code are the same."""

import inspect
import re
from typing import Final

import pytest
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.metrics import MetricWrapperBase

import kubernaut.kubernetes
from kubernaut.kubernetes import ApiError, KubernetesError, testing
from kubernaut.kubernetes._metrics import RESULTS, metrics_in
from test.unit.docs.pages import (
    ROOT,
    codes,
    first_codes,
    headed_rows,
    ids_of_tests,
    prose,
    read,
    rows,
    section,
    table,
)

PAGE: Final = read("reference/kernel")
EXPLANATION: Final = read("explanation/kernel")
PAGES: Final = ("explanation/kernel", "explanation/kernel-comparison", "reference/kernel")
MODULES: Final = ROOT / "src/kubernaut/kubernetes"
BEFORE_TESTING, TESTING = PAGE.split("\n## Testing\n")
METRICS: Final = {
    found._name: found
    for found in vars(metrics_in(CollectorRegistry())).values()
    if isinstance(found, MetricWrapperBase)
}
METRIC_COLUMNS: Final = 4
DESCRIBED: Final = re.findall(r"^### (\w+)$", PAGE, re.MULTILINE)


def plain(code: str) -> str:
    return code.partition("(")[0]


def described(name: str) -> type:
    found: type = getattr(kubernaut.kubernetes, name, None) or getattr(testing, name)
    return found


def settings(name: str) -> dict[str, str]:
    """The settings that the page gives a class, with their defaults."""
    return {codes(row[0])[0]: row[1] for row in headed_rows(section(PAGE, name), "Setting")}


@pytest.mark.parametrize(
    ("text", "exported"),
    [(BEFORE_TESTING, kubernaut.kubernetes.__all__), (TESTING, testing.__all__)],
    ids=["kernel", "testing"],
)
def test_what_is_exported_has_its_row_and_nothing_else(text: str, exported: list[str]) -> None:
    named = [plain(code) for code in first_codes(headed_rows(text, "Name"))]
    assert sorted(named) == sorted(exported)


def test_every_error_has_its_row_with_what_retryable_says() -> None:
    errors = {
        name: found
        for name in kubernaut.kubernetes.__all__
        if isinstance(found := getattr(kubernaut.kubernetes, name), type)
        and issubclass(found, KubernetesError)
    }
    documented = {codes(row[0])[0]: row[2] for row in table(PAGE, "Errors")}
    expected = {
        name: found._retryable_by_default if issubclass(found, ApiError) else found.retryable
        for name, found in errors.items()
    }
    assert documented == {name: "yes" if yes else "no" for name, yes in expected.items()}


def test_the_parts_with_settings_are_described() -> None:
    parts = "Client ClientConfig Controller EventRecorder LeaderElection Reflector Store WorkQueue"
    assert set(parts.split()) | (set(testing.__all__) - {"settle"}) <= set(DESCRIBED)


@pytest.mark.parametrize("name", [name for name in DESCRIBED if settings(name)])
def test_every_setting_has_its_row_with_its_default(name: str) -> None:
    documented = settings(name)
    parameters = inspect.signature(described(name)).parameters
    assert set(documented) == set(parameters)
    for setting, parameter in parameters.items():
        shown = documented[setting]
        match parameter.default:
            case inspect.Parameter.empty:
                assert not shown, setting
            case None:
                assert shown, setting
            case bool(value):
                assert shown == ("on" if value else "off"), setting
            case int(value) | float(value):
                assert shown == f"{value:g}", setting
            case str(value):
                assert shown == value, setting
            case value:
                assert value is REGISTRY, setting
                assert shown == "`REGISTRY`", setting


@pytest.mark.parametrize("name", [name for name in DESCRIBED if name != "ExponentialBackoff"])
def test_every_method_has_its_row_and_nothing_else(name: str) -> None:
    kind = described(name)
    methods = {member for member in vars(kind) if not member.startswith("_")}
    if name in {"ClientConfig", "Resource"}:  # Their fields are settings.
        methods -= set(inspect.signature(kind).parameters)
    documented = {plain(code) for code in first_codes(headed_rows(section(PAGE, name), "Method"))}
    assert methods <= documented
    attributes = set(re.findall(r"self\.(\w+)", inspect.getsource(kind)))
    assert documented <= methods | attributes


def test_every_metric_is_documented_with_its_type_and_labels_and_nothing_else() -> None:
    documented = {
        codes(row[0])[0]: (row[1], codes(row[2]))
        for row in table(PAGE, "Metrics")
        if len(row) == METRIC_COLUMNS
    }
    assert documented == {
        f"{name}_total" if found._type == "counter" else name: (
            found._type,
            list(found._labelnames),
        )
        for name, found in METRICS.items()
    }


def test_every_label_is_explained() -> None:
    explained = {codes(row[0])[0]: row[1] for row in headed_rows(PAGE, "Label")}
    assert set(explained) == {label for found in METRICS.values() for label in found._labelnames}
    assert set(RESULTS) == set(codes(explained["result"]))


@pytest.mark.parametrize("page", PAGES)
def test_every_test_that_is_named_exists(page: str) -> None:
    named = {code for code in codes(prose(read(page))) if code.startswith("test/")}
    files = {code for code in named if "::" not in code}
    assert named - files <= set().union(*(ids_of_tests(code.partition("::")[0]) for code in named))
    assert all((ROOT / file).exists() for file in files)


def test_every_promise_names_its_test() -> None:
    promises = headed_rows(EXPLANATION, "Promise") + headed_rows(EXPLANATION, "Rule")
    assert len(promises) > 40
    for row in promises:
        assert "`test/" in row[-1] or row[-1].startswith("the same"), row[0]


def test_the_modules_are_those_of_the_package() -> None:
    modules = {path.stem for path in MODULES.glob("*.py")} - {"__init__"}
    listed = first_codes(headed_rows(EXPLANATION, "Module of `kubernaut.kubernetes`"))
    assert sorted(listed) == sorted(modules)


def test_the_comparison_has_a_cell_for_each() -> None:
    for row in rows(section(read("explanation/kernel-comparison"), "What each does")):
        assert all(row), row[0]
