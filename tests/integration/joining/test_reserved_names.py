"""No site has the name by which the broker knows the scheduler: not by any way to become a site."""

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest
import pytest_asyncio

from agents.config.rules import find_problems
from agents.config.settings import AgentSettings
from agents.protocol.errors import WireError
from agents.protocol.keys import SigningKey
from agents.protocol.topics import HUB_USER, is_site_name, is_subdomain, parse_topic
from scheduler.cli.entry import main
from scheduler.control.ports.hub import Refused
from scheduler.joining_plan import reserved_names
from scheduler.model.kinds.site import RESERVED_NAMES
from scheduler.mqtt.keyring import Keyring
from scheduler.mqtt.production.mosquitto_files import access_rules
from scheduler.pki.files import ensure_client_files, load_or_make_authority
from scheduler.runtime.clock import SystemClock
from scheduler.settings import BrokerSettings
from tests.support.join_rig import JoinRig, running_join_rig

KEY = SigningKey(bytes(range(32))).public


@pytest_asyncio.fixture
async def rig(tmp_path: Path) -> AsyncIterator[JoinRig]:
    async with running_join_rig(tmp_path) as running:
        yield running


@pytest.mark.asyncio
async def test_the_hub_takes_no_site_of_the_schedulers_name(rig: JoinRig) -> None:
    with pytest.raises(Refused, match="scheduler's own user name at the broker"):
        await rig.make_site(HUB_USER)
    await rig.make_site(f"{HUB_USER}-1")


def test_agents_and_topics_know_no_such_site() -> None:
    assert {HUB_USER} == RESERVED_NAMES
    assert is_subdomain(HUB_USER)
    assert not is_site_name(HUB_USER)
    with pytest.raises(WireError):
        parse_topic(f"kapok/v1/{HUB_USER}/report")
    settings = AgentSettings(site=HUB_USER, hub_keys=(str(KEY),))
    assert "site" in [problem.path for problem in find_problems(settings)]


def test_it_is_not_admitted(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["admit", HUB_USER, "--key", str(KEY)]) == 2
    assert "scheduler's own user name" in capsys.readouterr().err


def test_a_site_that_is_there_already_has_no_keys_and_no_rule() -> None:
    keyring = Keyring(RESERVED_NAMES | {"hub-of-the-city"})
    for name in (HUB_USER, "hub-of-the-city"):
        assert keyring.admit(name, [str(KEY)])
        trusted = keyring.keys_of(name)
        assert trusted is not None
        assert not trusted.ids()
    refused = [HUB_USER, "m1", "m2\nuser m3", ""]
    rules = access_rules(refused_sites=refused)
    assert rules.count(f"user {HUB_USER}\n") == 1
    assert rules.endswith("user m1\ntopic deny #\n")


def test_the_names_of_the_brokers_settings_are_reserved_too(tmp_path: Path) -> None:
    now = SystemClock().now()
    authority = load_or_make_authority(tmp_path, now)
    files, _ = ensure_client_files(
        tmp_path, "hub-1", authority, now=now, lifetime=timedelta(days=1)
    )
    named = BrokerSettings(username="hub-2", tls_certificate_file=str(files.certificate))
    assert reserved_names(named) == RESERVED_NAMES | {"hub-1", "hub-2"}
    absent = BrokerSettings(tls_certificate_file=str(tmp_path / "absent.crt"))
    assert reserved_names(absent) == RESERVED_NAMES
