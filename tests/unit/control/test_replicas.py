"""What a second replica must share with the one that leads."""

import pytest

from scheduler.control.ports.hub import Object
from scheduler.control.replicas import (
    KEY_ANNOTATION,
    LEDGER_ANNOTATION,
    ReplicaIdentity,
    StandbyRefused,
)


def lease(renewed: str, *, holder: str = "one", key: str = "k", ledger: str = "") -> Object:
    return {
        "metadata": {"annotations": {KEY_ANNOTATION: key, LEDGER_ANNOTATION: ledger}},
        "spec": {"holderIdentity": holder, "renewTime": renewed},
    }


def test_a_single_scheduler_waits_for_the_lease_of_a_process_that_was_killed() -> None:
    replica = ReplicaIdentity(key="k")
    for _ in range(5):
        replica.check_standby(lease("12:00"))


@pytest.mark.parametrize(
    ("own", "leaders", "says"),
    [
        ("", "", "keeps its ledger in a file: more than one replica needs ledger.url"),
        ("", "a", "keeps its ledger in a file: more than one replica needs ledger.url"),
        ("a", "", "one leads and keeps its ledger in a file"),
        ("a", "b", "with the ledger b, and ledger.url of this scheduler names the ledger a"),
    ],
)
def test_beside_a_leader_that_renews_a_ledger_that_is_not_shared_is_named(
    own: str, leaders: str, says: str
) -> None:
    replica = ReplicaIdentity(key="k", ledger=own)
    replica.check_standby(lease("12:00", ledger=leaders))
    replica.check_standby(lease("12:03", holder="two", ledger=leaders))  # another one took it
    replica.check_standby(lease("12:03", holder="two", ledger=leaders))
    with pytest.raises(StandbyRefused, match=says.replace("one leads", "two leads")):
        replica.check_standby(lease("12:07", holder="two", ledger=leaders))


def test_one_ledger_and_one_key_may_stand_by() -> None:
    replica = ReplicaIdentity(key="k", ledger="a")
    for second in range(5):
        replica.check_standby(lease(f"12:0{second}", ledger="a"))
    assert replica.annotations == {KEY_ANNOTATION: "k", LEDGER_ANNOTATION: "a"}


def test_another_key_neither_stands_by_nor_takes_over() -> None:
    replica = ReplicaIdentity(key="mine", ledger="a")
    for check in (replica.check_standby, replica.check_key):
        with pytest.raises(StandbyRefused, match=r"signed by k.*hub\.signing_key_secret"):
            check(lease("12:00", ledger="a"))


def test_a_lease_of_a_version_before_says_nothing_of_keys() -> None:
    ReplicaIdentity(key="mine").check_key({"metadata": {}, "spec": {}})
