"""The key of the hub's own push process is in the Sites of mode Push, and in no others."""

from scheduler.model.decode import decode
from scheduler.model.kinds.site import Site
from scheduler.push.keys import keys_with

KEY = "ed25519:MFN1bmZsb3dlclN1bmZsb3dlclN1bmZsb3dlclN1bmY="


def site(mode: str, *keys: str) -> Site:
    delivery: dict[str, object] = {"mode": mode, "agentKeys": list(keys)}
    if mode == "Push":
        delivery["kubeconfigSecretRef"] = {"namespace": "kapok-members", "name": "m1"}
    one = decode(
        {
            "apiVersion": "kapok.dev/v1alpha1",
            "kind": "Site",
            "metadata": {"name": "m1"},
            "spec": {"tier": "edge", "delivery": delivery},
        }
    )
    assert isinstance(one, Site)
    return one


def test_a_pushed_site_gets_the_key_once_beside_those_it_has() -> None:
    assert keys_with(site("Push"), KEY) == (KEY,)
    assert keys_with(site("Push", "other"), KEY) == ("other", KEY)
    assert keys_with(site("Push", KEY, "other"), KEY) == (KEY, "other")


def test_a_site_of_its_own_agent_loses_the_key_and_keeps_its_own() -> None:
    assert keys_with(site("Pull", "other", KEY), KEY) == ("other",)
    assert keys_with(site("Pull", "other"), KEY) == ("other",)


def test_a_site_with_four_keys_has_no_room() -> None:
    assert keys_with(site("Push", "a", "b", "c", "d"), KEY) is None
