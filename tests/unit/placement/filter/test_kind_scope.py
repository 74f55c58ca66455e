"""The scope of custom kinds is learnt from reports, and not guessed where it is unknown."""

from scheduler.placement.choose import choose
from scheduler.placement.explain.explain import explain
from scheduler.placement.fleet.fleet import Fleet
from tests.support.one_site import asking, at, tenant
from tests.support.sites import NOW

ISSUER = "cert-manager.io/v1/ClusterIssuer"
OBJECT = {"apiVersion": "cert-manager.io/v1", "kind": "ClusterIssuer", "metadata": {"name": "ca"}}


def test_a_kind_that_is_cluster_scoped_at_the_site_needs_the_word_of_the_tenant() -> None:
    there = Fleet([at(apiKinds=[ISSUER], clusterKinds=[ISSUER])])
    asked = asking(of=tenant(), manifests=[OBJECT])
    decision = choose(asked, there, now=NOW)
    assert (decision.phase, dict(decision.reasons)) == ("Refused", {"api-kind": 1})
    (site,) = explain(asked, there, now=NOW).sites
    assert any("clusterKinds must list cert-manager.io/v1" in str(each) for each in site.verdicts)
    for form in (ISSUER, "ClusterIssuer", "cert-manager.io/ClusterIssuer"):
        permitted = asking(of=tenant(clusterKinds=[form]), manifests=[OBJECT])
        assert choose(permitted, there, now=NOW).phase == "Placed"


def test_a_kind_that_is_namespaced_at_the_site_is_placed_without_a_note() -> None:
    there = Fleet([at(apiKinds=[ISSUER], clusterKinds=[])])
    decision = choose(asking(of=tenant(), manifests=[OBJECT]), there, now=NOW)
    assert (decision.phase, decision.notes) == ("Placed", ())


def test_where_the_scope_is_not_reported_the_answer_says_so() -> None:
    there = Fleet([at(apiKinds=[ISSUER])])
    decision = choose(asking(of=tenant(), manifests=[OBJECT]), there, now=NOW)
    assert decision.phase == "Placed"
    assert any("scope of cert-manager.io/v1/ClusterIssuer" in each for each in decision.notes)
