"""Two levels of tenants: whose place is wrong, what is left to each, borrowed, lent, taken back."""

from collections.abc import Mapping
from itertools import product
from random import Random
from typing import Any

import pytest

from scheduler.model.decode import decode_as
from scheduler.model.demand.demand import NotAccepted
from scheduler.model.demand.tenancy import QuotaUsage
from scheduler.model.kinds.kinds import API_VERSION, Tenant
from scheduler.model.kinds.tenant_quotas import LendingBook
from scheduler.model.kinds.tenant_tree import tenant_tree
from tests.support.sites import demand_or_refusal, workload


def tenant(name: str, **spec: Any) -> Tenant:  # noqa: ANN401 - fields
    raw = {
        "apiVersion": API_VERSION,
        "kind": "Tenant",
        "metadata": {"name": name},
        "spec": {"namespaces": [f"{name}-ns"], **spec},
    }
    return decode_as(raw, Tenant)


def cpu(cores: float) -> dict[str, str]:
    return {"cpu": f"{int(cores * 1000)}m"}


def book(used: Mapping[str, float], *tenants: Tenant) -> LendingBook:
    tree = tenant_tree(tenants)
    return LendingBook(tree, lambda one: {"cpu": int(used.get(one.metadata.name, 0) * 1000)})


def left(found: LendingBook, name: str) -> float:
    return found.quota_left(found.tree.tenants[name])["cpu"] / 1000


# ---------------------------------------------------------------- the hierarchy


@pytest.mark.parametrize(
    ("parents", "wrong"),
    [
        ({"a": "a"}, {"a": "TenantCycle"}),
        ({"a": "b", "b": "a"}, {"a": "TenantCycle", "b": "TenantCycle"}),
        ({"a": "b", "b": "c", "c": "b"}, dict.fromkeys("abc", "TenantCycle")),
        ({"a": "nowhere"}, {"a": "MissingParent"}),
        ({"a": "b", "b": "c", "c": ""}, {"a": "TooManyLevels"}),
        ({"a": "b", "b": "", "c": "b"}, {}),
    ],
)
def test_a_wrong_place_is_named_and_refuses_only_whom_it_concerns(
    parents: dict[str, str], wrong: dict[str, str]
) -> None:
    tenants = [tenant(name, parent=parent) for name, parent in parents.items()]
    tree = tenant_tree(tenants)
    assert {name: one.reason for name, one in tree.problems.items()} == wrong
    for name in parents:
        raw = workload(1)
        raw["metadata"]["namespace"] = f"{name}-ns"
        usage = QuotaUsage(book=LendingBook(tree, lambda _: {}))
        found = demand_or_refusal(raw, tenants=[tree.tenants[name]], usage=usage)
        if name not in wrong:
            assert not isinstance(found, NotAccepted)
            continue
        assert isinstance(found, NotAccepted)
        assert (found.reason, found.condition) == ("no-tenant", wrong[name])
        assert name in found.message
        assert "an administrator" in found.message


def test_a_team_has_no_higher_priority_than_its_bureau() -> None:
    bureau = tenant("b", maxPriority=100)
    for own, allowed in ((None, 100), (50, 50), (900, 100)):
        tree = tenant_tree([bureau, tenant("t", parent="b", maxPriority=own)])
        raw = workload(1, priority=101)
        raw["metadata"]["namespace"] = "t-ns"
        found = demand_or_refusal(raw, tenants=[tree.tenants["t"]])
        assert isinstance(found, NotAccepted)
        assert str(allowed) in found.message


# ---------------------------------------------------------------- what is left


def test_without_teams_the_rules_are_those_of_one_level() -> None:
    two = (tenant("a", quota=cpu(4), borrowing=True), tenant("b", quota=cpu(6)))
    assert left(book({"a": 3, "b": 1}, *two), "a") == 1 + 5
    assert left(book({"a": 3, "b": 6}, *two), "a") == 1
    assert left(book({"a": 3, "b": 1}, *two), "b") == 5, "it may not borrow"


def test_a_limit_of_lending_keeps_the_rest_for_its_owner() -> None:
    a = tenant("a", quota=cpu(4), borrowing=True)
    assert left(book({}, a, tenant("b", quota=cpu(6), lendLimit=cpu(2))), "a") == 4 + 2
    assert left(book({"b": 5}, a, tenant("b", quota=cpu(6), lendLimit=cpu(2))), "a") == 4 + 1
    assert left(book({}, a, tenant("b", quota=cpu(6), lendLimit=cpu(0))), "a") == 4


def test_a_limit_of_borrowing_is_a_word_to_borrow() -> None:
    b = tenant("b", quota=cpu(6))
    assert left(book({}, tenant("a", quota=cpu(4), borrowLimit=cpu(3)), b), "a") == 4 + 3
    both = tenant("a", quota=cpu(4), borrowLimit=cpu(3), borrowingLimit=cpu(1))
    assert left(book({}, both, b), "a") == 4 + 1


def bureau(**spec: Any) -> list[Tenant]:  # noqa: ANN401 - fields
    return [
        tenant("b", quota=cpu(10), **spec),
        tenant("x", parent="b", quota=cpu(4), borrowing=True),
        tenant("y", parent="b", quota=cpu(3), borrowing=True),
    ]


def test_teams_borrow_of_each_other_and_of_the_rest_of_their_bureau() -> None:
    assert left(book({}, *bureau()), "x") == 10
    assert left(book({}, *bureau()), "b") == 3, "its own part; it does not borrow"
    assert left(book({"x": 9}, *bureau()), "y") == 3, "what is guaranteed is not lent for good"
    assert left(book({"x": 4, "b": 2}, *bureau()), "y") == 4


def test_a_team_borrows_of_other_bureaus_only_as_far_as_its_bureau_may() -> None:
    other = tenant("o", quota=cpu(20))
    assert left(book({}, *bureau(), other), "x") == 10
    assert left(book({}, *bureau(borrowing=True), other), "x") == 30
    assert left(book({}, *bureau(borrowLimit=cpu(5)), other), "x") == 15
    lends = tenant("o", quota=cpu(20), lendLimit=cpu(1))
    assert left(book({}, *bureau(borrowing=True), lends), "x") == 11


def test_what_a_team_does_not_lend_stays_with_it_everywhere() -> None:
    tenants = [
        tenant("b", quota=cpu(10)),
        tenant("x", parent="b", quota=cpu(4), lendLimit=cpu(1)),
        tenant("y", parent="b", quota=cpu(3), borrowing=True),
        tenant("o", quota=cpu(1), borrowing=True),
    ]
    assert left(book({}, *tenants), "y") == 7
    assert left(book({}, *tenants), "o") == 1 + 7


def test_a_team_without_quota_uses_what_its_bureau_has_left() -> None:
    tenants = [tenant("b", quota=cpu(10)), tenant("x", parent="b"), *bureau()[2:]]
    assert left(book({"b": 2, "y": 1}, *tenants), "x") == 7
    assert left(book({"b": 2, "y": 1, "x": 7}, *tenants), "x") == 0


def test_only_what_is_idle_of_all_quotas_is_borrowed() -> None:
    random = Random(3)  # noqa: S311 - a test, seeded
    for _ in range(300):
        tenants, used = list[Tenant](), dict[str, float]()
        for root in ("r1", "r2", "r3"):
            limits = {
                "borrowing": random.random() < 0.7,
                **({"lendLimit": cpu(random.randrange(4))} if random.random() < 0.4 else {}),
                **({"borrowLimit": cpu(random.randrange(5))} if random.random() < 0.3 else {}),
            }
            tenants.append(tenant(root, quota=cpu(random.randrange(4, 12)), **limits))
            for team in range(random.randrange(3)):
                name = f"{root}-{team}"
                more = {"lendLimit": cpu(random.randrange(3))} if random.random() < 0.4 else {}
                tenants.append(
                    tenant(
                        name,
                        parent=root,
                        quota=cpu(random.randrange(4)),
                        borrowing=random.random() < 0.7,
                        **more,
                    )
                )
        names = [one.metadata.name for one in tenants]
        total = {one.metadata.name: own_part(one, tenants) for one in tenants}
        for name in random.choices(names, k=60):
            room = left(book(used, *tenants), name)
            own = total[name] - used.get(name, 0)
            assert room >= own or own < 0, "its own quota is always its own"
            if room <= 0:
                continue
            used[name] = used.get(name, 0) + 1
            if own <= 0:  # this core is borrowed, in the bureau or else of all
                inside = [n for n in names if n[:2] == name[:2]]
                is_idle = any(
                    sum(used.get(n, 0) for n in group) <= sum(total[n] for n in group)
                    for group in (inside, names)
                )
                assert is_idle, (name, used, total)


def own_part(one: Tenant, tenants: list[Tenant]) -> float:
    quota = amount(one)
    teams = [amount(each) for each in tenants if each.spec.parent == one.metadata.name]
    return max(0.0, quota - sum(teams))


def amount(one: Tenant) -> float:
    return int(str(one.spec.quota["cpu"]).removesuffix("m")) / 1000


def test_a_tenant_in_a_wrong_place_has_its_own_quota_and_borrows_nothing() -> None:
    lost = tenant("a", quota=cpu(4), borrowing=True, parent="nowhere")
    found = book({"a": 1}, lost, tenant("b", quota=cpu(6)))
    assert left(found, "a") == 3
    assert found.to_take_back(lost, {"cpu": 1000}) == {}
    assert left(found, "b") == 6


# ---------------------------------------------------------------- what is shown, and taken back


def test_borrowed_and_lent_add_up() -> None:
    tenants = [*bureau(), tenant("o", quota=cpu(4))]
    found = book({"x": 6, "o": 1}, *tenants)
    named = found.tree.tenants
    assert found.borrowed_by(named["x"]) == {"cpu": 2000}
    assert found.borrowed_by(named["b"]) == {}
    lent = {name: found.lent_by(named[name]).get("cpu", 0) for name in ("y",)}
    assert lent == {"y": 1000}, "half of the two that the bureau's rest and y can lend alike"
    beyond = book({"x": 12, "o": 1}, *tenants)
    assert beyond.borrowed_by(named["b"]) == {"cpu": 2000}
    assert beyond.lent_by(named["o"]) == {"cpu": 2000}


def test_an_owner_takes_back_from_borrowers_only_and_within_its_own() -> None:
    tenants = [*bureau(borrowing=True), tenant("o", quota=cpu(4))]
    used = {"x": 9, "y": 1, "b": 1, "o": 1}  # the bureau uses 11 of 10
    named = tenant_tree(tenants).tenants
    found = book(used, *tenants)
    assert found.to_take_back(named["o"], {"cpu": 3000}) == {"x": {"cpu": 1000}}
    assert found.to_take_back(named["o"], {"cpu": 4000}) == {}, "beyond its own"
    assert found.to_take_back(named["y"], {"cpu": 2000}) == {"x": {"cpu": 5000}}
    assert found.to_take_back(named["x"], {"cpu": 1000}) == {}, "it borrows itself"


def test_each_combination_of_missing_limits_is_read() -> None:
    for quota, lend, borrow in product(({}, cpu(2)), ({}, cpu(1)), ({}, cpu(1))):
        one = tenant("a", quota=quota, lendLimit=lend, borrowLimit=borrow)
        found = book({}, one, tenant("b", quota=cpu(2)))
        expected = {} if not quota else {"cpu": 2000 + (1000 if borrow else 0)}
        assert found.quota_left(one) == expected
