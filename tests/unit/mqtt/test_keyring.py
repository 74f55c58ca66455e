"""The keys of sites: unreadable ones are left out, and the operator is warned once."""

import logging

import pytest

from agents.protocol.keys import SigningKey
from scheduler.mqtt.keyring import Keyring

KEY = str(SigningKey(bytes(range(32))).public)


def test_an_unreadable_key_is_left_out_with_one_warning(caplog: pytest.LogCaptureFixture) -> None:
    keyring = Keyring()
    with caplog.at_level(logging.WARNING):
        assert keyring.admit("m1", ["ed25519:short", KEY])
        assert not keyring.admit("m1", ["ed25519:short", KEY])
    [warning] = [record.getMessage() for record in caplog.records]
    assert warning.startswith("Site m1: spec.delivery.agentKeys: ")
    assert keyring.keys_of("m1") is not None
    assert keyring.keys_of("m2") is None


def test_other_keys_are_a_change_and_a_forgotten_site_has_none() -> None:
    keyring = Keyring()
    assert keyring.admit("m1", [])
    assert keyring.admit("m1", [KEY])
    keyring.forget("m1")
    assert keyring.keys_of("m1") is None
