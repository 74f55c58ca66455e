"""What an agent does not need is not loaded, and what is loaded late is whole."""

import json.decoder
import subprocess
import sys
from pathlib import Path

from agents.runtime.deferred_modules import defer_module

_HEAVY = (
    "http.client",
    "email.parser",
    "cryptography.x509",
    "agents.member.api",
    "agents.orders.executor",
    "agents.diagnosis.order_reader",
    "agents.sensors.exporter",
    "agents.sensors.kubernetes",
    "agents.joining.renewal",
    "agents.doctor",
    "yaml",
)
_SCRIPT = """
import random, sys
from agents.runtime.deferred_modules import defer_module
import urllib
deferred = defer_module('urllib.request')
import agents.cli
from agents.app import build_agent
from agents.config.settings import AgentSettings
from agents.protocol.keys import SigningKey
from agents.runtime.clock import AgentSystemClock
from agents.runtime.data_dir import Boot
folder = sys.argv[1]
build_agent(AgentSettings(site='m1', data_dir=folder), key=SigningKey(bytes(32)), boot=Boot('b', 1),
            clock=AgentSystemClock(), jitter=random.Random(1))
loaded = [name for name in sys.argv[2:] if name in sys.modules]
print(*loaded, sys.modules['urllib.request'] is deferred)
import urllib.request
assert urllib.request.quote('a b') == 'a%20b'
assert urllib.request is not deferred and 'http.client' in sys.modules
assert deferred.quote is urllib.request.quote
"""


def test_an_agent_without_a_cluster_loads_no_http_client_and_none_of_its_parts(
    tmp_path: Path,
) -> None:
    done = subprocess.run(
        [sys.executable, "-c", _SCRIPT, str(tmp_path), *_HEAVY],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout.strip(), done.stderr) == ("True", "")


def test_a_module_that_is_loaded_or_does_not_exist_is_left_alone() -> None:
    assert defer_module("json.decoder") is None
    assert json.decoder.JSONDecoder().decode("1") == 1
    assert defer_module("json.no_such_module") is None
