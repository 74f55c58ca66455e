"""A kubeconfig from a Secret gives a token, a certificate and a CA, and moves nothing else."""

import json
import ssl
from typing import Any

import pytest

from agents.member.access import AccessError
from agents.push.kubeconfig import MAX_KUBECONFIG_BYTES, access_of_kubeconfig
from tests.support.kubeconfigs import TOKEN, kubeconfig

SOURCE = "Secret kapok-members/m1"


def refusal(data: bytes) -> str:
    with pytest.raises(AccessError) as caught:
        access_of_kubeconfig(data, SOURCE)
    text = str(caught.value)
    assert text.startswith(SOURCE)
    assert TOKEN not in text
    return text


def test_a_token_and_a_server_are_enough() -> None:
    access = access_of_kubeconfig(json.dumps(kubeconfig()).encode(), SOURCE)
    assert access.server == ("m1.example.org", 6443, "")
    assert access.bearer_token() == TOKEN
    assert access.tls is not None
    assert access.tls.verify_mode == ssl.CERT_REQUIRED
    assert access.tls.check_hostname
    assert TOKEN not in repr(access)


@pytest.mark.parametrize(
    ("user", "words"),
    [
        ({"exec": {"command": "aws"}}, "user.exec runs a program beside the hub"),
        ({"auth-provider": {"name": "gcp"}}, "user.auth-provider runs a plug-in"),
        ({"tokenFile": "/var/run/secrets/token"}, "user.tokenFile names a file"),
        ({"client-certificate": "/etc/shadow"}, "user.client-certificate names a file"),
        ({"client-key": "../hub.key"}, "user.client-key names a file"),
        ({"username": "admin", "password": TOKEN}, "user.username is not supported"),
        ({"as": "system:admin"}, "user.as is not supported"),
        ({"as-groups": ["system:masters"]}, "user.as-groups is not supported"),
        ({"token": ""}, "the user has neither a token nor a client certificate"),
        ({"token": [TOKEN]}, "token is not a text"),
        ({"client-key-data": {"a": 1}}, "client-key-data is not a text"),
        ({"client-certificate-data": "abc", "client-key-data": "abc"}, "not base64"),
    ],
)
def test_what_would_act_beside_the_hub_is_refused_by_name(user: dict[str, Any], words: str) -> None:
    assert words in refusal(json.dumps(kubeconfig(user=user)).encode())


@pytest.mark.parametrize(
    ("cluster", "words"),
    [
        ({"certificate-authority": "/etc/ssl/ca.pem"}, "cluster.certificate-authority names a"),
        ({"insecure-skip-tls-verify": True}, "cluster.insecure-skip-tls-verify would give"),
        ({"proxy-url": "http://proxy.example.org"}, "cluster.proxy-url is not supported"),
        ({"tls-server-name": "other"}, "cluster.tls-server-name is not supported"),
        ({"server": "http://m1.example.org"}, "not an https URL"),
        ({"server": "file:///etc/passwd"}, "not an https URL"),
        ({"server": ""}, "not an https URL"),
        ({"server": None}, "not an https URL"),
        ({"server": "https://:6443"}, "not an http or https URL"),
        ({"server": "https://m1:port"}, "not an http or https URL"),
        ({"server": "https://169.254.169.254/latest"}, "link-local"),
        ({"server": "https://[fe80::1%25eth0]:6443"}, "link-local"),
        ({"server": "https://[::ffff:169.254.169.254]"}, "link-local"),
        ({"server": "https://0.0.0.0:6443"}, "unspecified"),
        ({"certificate-authority-data": "bm8="}, "certificates"),
    ],
)
def test_a_server_that_is_no_verified_cluster_is_refused_by_name(
    cluster: dict[str, Any], words: str
) -> None:
    assert words in refusal(json.dumps(kubeconfig(cluster=cluster)).encode())


BOMB = "a: &a [x,x,x,x,x,x,x,x]\n" + "".join(
    f"{name}: &{name} [{','.join(['*' + before] * 8)}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"x" * (10 * 2**20), "has 10485760 bytes"),
        (b"x" * (MAX_KUBECONFIG_BYTES + 1), f"at most {MAX_KUBECONFIG_BYTES} are read"),
        (BOMB.encode(), "a YAML alias"),
        (b"[" * 200_000, "not a kubeconfig"),
        (b"\xff\xfe\x00", "not a kubeconfig"),
        (b"", "not a kubeconfig"),
        (b"- 1", "not a kubeconfig"),
        (b"!!python/object/apply:os.system [ls]", "not a kubeconfig (ConstructorError)"),
        (f"a: '{TOKEN}\n".encode(), "not a kubeconfig (ScannerError)"),
        (b"current-context: x", "no context 'x' in contexts"),
        (b"current-context: [1]\ncontexts: 7", "no context"),
        (b"{? {a: 1} : 2}", "not a kubeconfig"),
    ],
    ids=range(12),
)
def test_what_is_no_kubeconfig_is_refused_and_not_repeated(data: bytes, words: str) -> None:
    assert words in refusal(data)
