"""Kubeconfigs: the plain one is read by Kapok itself, all others by the package `kubernetes`."""

import asyncio
import base64
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from scheduler.control.ports.hub import Refused
from scheduler.hub.kubeconfig import (
    PlainConfiguration,
    ServerConfiguration,
    _read_by_library,
    bearer_token_of,
    read_configuration,
)
from tests.support.up import ROOT

AUTHORITY = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"
DATA = base64.b64encode(AUTHORITY.encode()).decode()


def document(
    cluster: dict[str, Any] | None = None, user: dict[str, Any] | None = None
) -> dict[str, Any]:
    cluster = {"server": "https://hub:6443/", **(cluster or {})}
    return {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "one", "cluster": cluster},
            {"name": "two", "cluster": {"server": "https://other"}},
        ],
        "users": [{"name": "me", "user": {"token": "secret"} if user is None else user}],
        "contexts": [
            {"name": "first", "context": {"cluster": "one", "user": "me", "namespace": "n"}},
            {"name": "second", "context": {"cluster": "two", "user": "me"}},
        ],
        "current-context": "first",
    }


def read(folder: Path, content: object, context: str | None = None) -> ServerConfiguration:
    path = folder / "kubeconfig"
    path.write_bytes(msgspec.json.encode(content))
    return asyncio.run(read_configuration(path, context))


def authorities_of(configuration: ServerConfiguration) -> str | None:
    if configuration.ssl_ca_cert:
        return Path(configuration.ssl_ca_cert).read_text()
    return configuration.ca_cert_data


@pytest.mark.parametrize("context", [None, "first", "second"])
@pytest.mark.parametrize("cluster", [{}, {"certificate-authority-data": DATA}])
def test_a_plain_one_says_the_same_as_to_the_library(
    tmp_path: Path, context: str | None, cluster: dict[str, Any]
) -> None:
    ours = read(tmp_path, document(cluster), context)
    assert isinstance(ours, PlainConfiguration)
    library = asyncio.run(_read_by_library(tmp_path / "kubeconfig", context))
    assert ours.host == library.host
    assert ours.verify_ssl == library.verify_ssl
    assert (ours.cert_file, ours.key_file) == (library.cert_file, library.key_file)
    assert authorities_of(ours) == authorities_of(library)
    header, expected = (asyncio.run(one.auth_settings())["BearerToken"] for one in (ours, library))
    assert (header["key"], header["value"]) == (expected["key"], expected["value"])
    assert asyncio.run(bearer_token_of(tmp_path / "kubeconfig", context)) == "secret"


@pytest.mark.parametrize(
    ("cluster", "user"),
    [
        ({"insecure-skip-tls-verify": True}, None),
        ({"certificate-authority": "ca.pem"}, None),
        ({}, {}),
        ({}, {"username": "me", "password": "secret"}),
        ({}, {"token": "secret", "client-certificate": "me.pem", "client-key": "key.pem"}),
    ],
)
def test_all_others_are_left_to_the_library(
    tmp_path: Path, cluster: dict[str, Any], user: dict[str, Any] | None
) -> None:
    for name in ("ca.pem", "me.pem", "key.pem"):
        (tmp_path / name).write_text(AUTHORITY)
    found = read(tmp_path, document(cluster, user))
    assert not isinstance(found, PlainConfiguration)
    assert found.host == "https://hub:6443"
    assert found.verify_ssl is not bool(cluster.get("insecure-skip-tls-verify"))


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        ": :",
        {**document(), "current-context": "third"},
        {**document(), "users": []},
        {**document(), "clusters": "none"},
        {**document(), "contexts": [{"name": "first", "context": None}]},
    ],
)
def test_one_with_an_error_is_refused(tmp_path: Path, content: object) -> None:
    with pytest.raises(Refused, match="kubeconfig"):
        read(tmp_path, content)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="kubeconfig"):
        asyncio.run(read_configuration(tmp_path / "kubeconfig", None))


def test_the_scheduler_starts_without_the_library() -> None:
    script = "import sys, scheduler.cli.up_service as _; print('kubernetes' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT, check=True
    )
    assert done.stdout.strip() == "False"
