"""The simulation says that it is one, and every annotation that it reads is documented in it."""

import re

import yaml

from kubernaut.local.cluster._parts import STAGES

TEXT = STAGES.read_text()
READ = re.compile(r'"simulation\.kubernaut\.ai/([a-z-]+)"')
EXPLAINED = re.compile(r"^# +simulation\.kubernaut\.ai/([a-z-]+):", re.MULTILINE)


def test_every_annotation_is_explained() -> None:
    assert set(READ.findall(TEXT)) == set(EXPLAINED.findall(TEXT))


def test_the_stages_are_those_of_nodes_and_pods() -> None:
    stages = [stage["metadata"]["name"] for stage in yaml.safe_load_all(TEXT)]
    assert stages == ["node-ready", "pod-waiting", "pod-running", "pod-complete", "pod-removed"]


def test_what_is_simulated_says_so() -> None:
    for stage in yaml.safe_load_all(TEXT):
        template = stage["spec"]["next"].get("statusTemplate")
        assert template is None or "simulated by kwok" in template, stage["metadata"]["name"]
