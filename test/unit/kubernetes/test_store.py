"""The store and its indexes against a model that has no indexes."""

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from kubernaut.kubernetes import Store, label_of, namespace_of, owner_uids_of
from test.unit.kubernetes.widgets import Widget, widget

NAMES = st.sampled_from(["a", "b", "c", "d", "e"])
NAMESPACES = st.sampled_from(["", "one", "two"])
TIERS = st.sampled_from([None, "", "web", "cache"])
OWNERS = st.lists(st.sampled_from(["o1", "o2", "o3"]), max_size=3).map(tuple)
INDEXES = {"namespace": namespace_of, "owner": owner_uids_of, "tier": label_of("tier")}
VALUES = ["", "one", "two", "o1", "o2", "o3", "web", "cache", "nowhere"]


class StoreMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.model: dict[str, Widget] = {}
        self.late = False

    @initialize()
    def begin(self) -> None:
        self.store: Store[Widget] = Store({"namespace": namespace_of, "owner": owner_uids_of})

    @rule(name=NAMES, namespace=NAMESPACES, tier=TIERS, owners=OWNERS)
    def put(self, name: str, namespace: str, tier: str | None, owners: tuple[str, ...]) -> None:
        labels = {} if tier is None else {"tier": tier}
        obj = widget(name, namespace=namespace, labels=labels, owners=owners)
        assert self.store.put(obj) is self.model.get(obj.key)
        self.model[obj.key] = obj

    @rule(name=NAMES, namespace=NAMESPACES)
    def remove(self, name: str, namespace: str) -> None:
        key = widget(name, namespace=namespace).key
        assert self.store.remove(key) is self.model.pop(key, None)

    @rule()
    def index_late(self) -> None:
        if not self.late:
            self.store.add_index("tier", label_of("tier"))
            self.late = True

    @invariant()
    def objects_are_the_models(self) -> None:
        assert dict(self.store.items()) == self.model
        assert sorted(self.store.keys()) == sorted(self.model)
        assert len(self.store) == len(self.model)
        assert all(self.store.get(key) is obj for key, obj in self.model.items())
        assert {id(obj) for obj in self.store.list()} == {id(obj) for obj in self.model.values()}

    @invariant()
    def indexes_are_what_a_scan_finds(self) -> None:
        for name, values in INDEXES.items():
            if name == "tier" and not self.late:
                continue
            for value in VALUES:
                found = sorted(key for key, obj in self.model.items() if value in values(obj))
                assert self.store.keys_by_index(name, value) == found
                assert [obj.key for obj in self.store.by_index(name, value)] == found

    @invariant()
    def nothing_empty_is_kept(self) -> None:
        for index in self.store._indexes.values():
            assert all(isinstance(keys, str) or len(keys) > 1 for keys in index._keys.values())


TestStore = StoreMachine.TestCase


def test_an_index_that_is_not_there() -> None:
    with pytest.raises(KeyError):
        Store[Widget]().by_index("tier", "web")


def test_two_indexes_of_one_name() -> None:
    store: Store[Widget] = Store({"tier": label_of("tier")})
    with pytest.raises(ValueError, match="already"):
        store.add_index("tier", namespace_of)


def test_an_index_function_that_fails_changes_nothing() -> None:
    def values(obj: Widget) -> tuple[str, ...]:
        if obj.metadata.resource_version == "2":
            raise RuntimeError("no")
        return ("x",)

    store: Store[Widget] = Store({"namespace": namespace_of, "odd": values})
    first = widget("a")
    store.put(first)
    with pytest.raises(RuntimeError):
        store.put(widget("a", version="2"))
    assert store.get("default/a") is first
    assert store.by_index("odd", "x") == [first]
