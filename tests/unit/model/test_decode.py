import msgspec
import pytest

from scheduler.model.decode import NotReadable, decode, decode_as, decode_json
from scheduler.model.kinds.kinds import KINDS, Site, Workload
from tests.support.sites import Raw, grant, site_with_capacity, workload


def test_every_kind_is_found_by_its_name() -> None:
    assert isinstance(decode(workload()), Workload)
    assert set(KINDS) >= {"Site", "SiteGrant", "DataClassScheme", "Tenant", "Workload"}


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (
            workload(placement={"spread": [{"by": "province", "minGroup": 2}]}),
            r"spread\[0\].minGroup: no such field; did you mean minGroups",
        ),
        (workload(demand={"replicas": "two"}), "spec.demand.replicas: Expected `int`, got `str`"),
        (workload(replicas=-1), "spec.demand.replicas: Expected `int` >= 0"),
        (
            workload(dataClass="general-9"),
            "spec.dataClass: .*'general-9'; write one of .*general-1",
        ),
        (
            workload(placement={"spread": [{"by": "planet"}]}),
            r"spread\[0\].by: .*metro, site, or label",
        ),
        (
            workload(
                placement={"siteSelector": {"matchExpressions": [{"key": "a", "operator": "Is"}]}}
            ),
            "operator: Invalid enum value 'Is'; write one of DoesNotExist, Exists, In, NotIn",
        ),
        (
            {**site_with_capacity("m1", 1), "kind": "Sites"},
            "no such kind 'Sites'.*did you mean Site",
        ),
        ({**site_with_capacity("m1", 1), "apiVersion": "kapok.dev/v9"}, "write kapok.dev/v1alpha1"),
        ({**grant(), "spec": {"sites": []}}, "SiteGrant granted: spec.sites"),
    ],
)
def test_a_wrong_field_is_named_with_what_to_write(raw: Raw, message: str) -> None:
    with pytest.raises(NotReadable, match=message):
        decode(raw)


def test_fields_of_a_newer_version_can_be_left_alone() -> None:
    raw = workload()
    raw["spec"]["fromTheFuture"] = 1
    assert isinstance(decode(raw, allow_unknown=True), Workload)


def test_a_site_may_have_a_hundred_thousand_nodes_in_rows_of_their_own() -> None:
    raw = site_with_capacity("big", 1)
    raw["status"]["nodeClasses"][0]["free"] *= 5000
    assert len(decode_as(raw, Site).status.node_classes[0].free) == 5000


class Amount(msgspec.Struct):
    """What a body may hold."""

    lines: int | None = None
    ratio: float = 0.0


def test_a_whole_number_may_be_written_with_a_point_as_json_schema_says() -> None:
    assert decode_json(b'{"lines": 3854.0, "ratio": 2}', Amount) == Amount(3854, 2.0)
    for wrong in (b'{"lines": 1.5}', b'{"lines": "3"}', b'{"lines": true}'):
        with pytest.raises(msgspec.ValidationError, match=r"\$\.lines"):
            decode_json(wrong, Amount)
