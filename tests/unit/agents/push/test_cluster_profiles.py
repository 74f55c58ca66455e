"""Members by ClusterProfiles: the operator's plugins, bounded, and each problem by its name."""

import json
import sys
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agents.member.access import Access, AccessError
from agents.member.api import MemberApi, MemberApiError, Tree
from agents.push.credential_plugin import MAX_OUTPUT_BYTES, parse_credential, run_plugin
from agents.push.hub import HubReader
from agents.push.profile_accesses import ProfileAccesses
from agents.push.providers import EXEC_API_VERSIONS, AccessProvider, load_providers
from tests.support.fake_clock import FakeClock
from tests.unit.agents.push.test_hub import FakeHubApi, site

V1 = EXEC_API_VERSIONS[0]
PROFILE = "/apis/multicluster.x-k8s.io/v1alpha1/namespaces/fleet/clusterprofiles/m1"
SECRET_WORDS = "token-that-no-message-may-show"  # noqa: S105 - a test's


def provider(script: str, **words: Any) -> AccessProvider:  # noqa: ANN401 - of the dataclass
    """A provider whose plugin is a script of Python; without `site`, it starts in 20 ms."""
    fields: dict[str, Any] = {"name": "cloud", "arguments": ("-I", "-S", "-c", script)} | words
    return AccessProvider(command=sys.executable, **fields)


def printing(status: dict[str, str]) -> str:
    tree = {"apiVersion": V1, "kind": "ExecCredential", "status": status}
    return f"print({json.dumps(tree)!r})"


GOOD = printing({"token": "t1"})


def profile(server: str = "https://m1.example.org:6443", /, **more: Any) -> Tree:  # noqa: ANN401 - JSON
    listed = [{"name": "cloud", "cluster": {"server": server, **more}}]
    return {"metadata": {"name": "m1"}, "status": {"accessProviders": listed}}


# --- the file of the operator ---


def written(folder: Path, *providers: Any) -> str:  # noqa: ANN401 - JSON
    path = folder / "providers.json"
    path.write_text(json.dumps({"providers": providers}))
    return str(path)


def entry(**config: Any) -> dict[str, Any]:  # noqa: ANN401 - JSON
    return {"name": "cloud", "execConfig": {"apiVersion": V1, "command": "/bin/true"} | config}


def test_a_file_of_the_standard_is_read(tmp_path: Path) -> None:
    more = {"args": None, "env": [{"name": "A", "value": "b"}], "provideClusterInfo": True}
    [one] = load_providers(written(tmp_path, entry(**more)))
    assert (one.command, one.arguments, one.environment) == ("/bin/true", (), {"A": "b"})
    assert one.gives_cluster
    assert load_providers("") == ()


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (7, r"providers\[0\]: a map is expected"),
        ({"name": "x"}, r"providers\[0\].execConfig: a map is expected"),
        (entry(command="bin/plugin"), "an absolute path, or a name in PATH"),
        (entry(command=""), "command: is missing"),
        (entry(apiVersion="client.authentication.k8s.io/v1alpha1"), "apiVersion: one of"),
        (entry(args=["a", 1]), r"args\[1\]: a text is expected"),
        (entry(args="a"), "args: a list is expected"),
        (entry(env=[{"name": "A=B", "value": ""}]), "not the name of a variable"),
        (entry(interactiveMode="Always"), "has no terminal"),
        (entry(provideClusterInfo="yes"), "true or false is expected"),
        (entry(comand="x"), "unknown field 'comand'"),
        (entry() | {"profileSourcedCLIArgsPolicy": "Append"}, "only Ignore is supported"),
        (entry() | {"profileSourcedEnvVarsPolicy": "Replace"}, "only Ignore is supported"),
        (entry() | {"name": ""}, "name: is missing"),
    ],
)
def test_a_wrong_provider_is_named(tmp_path: Path, wrong: Any, words: str) -> None:  # noqa: ANN401 - JSON
    with pytest.raises(AccessError, match=words):
        load_providers(written(tmp_path, wrong))


@pytest.mark.parametrize("text", ["", "[]", "{}", "[" * 100_000, '{"providers": {}}', "\x00\xff"])
def test_a_file_that_is_none_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "providers.json"
    path.write_text(text)
    with pytest.raises(AccessError, match=r"providers\.json"):
        load_providers(str(path))
    with pytest.raises(AccessError, match=r"push.access_providers_file: .*No such file"):
        load_providers(str(tmp_path / "none"))
    with pytest.raises(AccessError, match="'cloud' is there twice"):
        load_providers(written(tmp_path, entry(), entry()))


# --- the plugin ---


def test_a_plugin_gets_the_cluster_and_none_of_our_settings(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("KAPOK_AGENT_BROKER_PASSWORD", SECRET_WORDS)
    script = (
        "import json, os; info = json.loads(os.environ['KUBERNETES_EXEC_INFO'])\n"
        "ours = sorted(k for k in os.environ if k.startswith('KAPOK'))\n"
        "words = json.dumps([info['spec'], ours, os.environ['A']]).encode().hex()\n"
        f"whole = dict(apiVersion={V1!r}, kind='ExecCredential', status=dict(token=words))\n"
        "print(json.dumps(whole))"
    )
    cluster = {"server": "https://m1", "certificate-authority-data": "Q0E=", "extensions": []}
    one = provider(script, gives_cluster=True, environment={"A": "b"})
    got = run_plugin(one, cluster, {"clusterName": "m1"})
    spec, ours, own = json.loads(bytes.fromhex(got.user["token"]))
    assert spec == {
        "interactive": False,
        "cluster": {
            "server": "https://m1",
            "certificate-authority-data": "Q0E=",
            "config": {"clusterName": "m1"},
        },
    }
    assert (ours, own) == ([], "b")


@pytest.mark.parametrize(
    ("script", "words"),
    [
        (f"print({SECRET_WORDS!r})", "printed no JSON"),
        ("print('[' * 60_000)", "printed no JSON"),
        ("", "printed no JSON"),
        (f"import sys; sys.exit({SECRET_WORDS!r})", "ended with code 1"),
        ("import os; os.kill(os.getpid(), 9)", "ended with code -9"),
        (f"while True: print({SECRET_WORDS!r} * 1000)", f"more than {MAX_OUTPUT_BYTES} bytes"),
        ("import sys\nwhile True: sys.stderr.write('x' * 1000)", "took more than"),
        ("import time; time.sleep(60)", "took more than"),
        ("import os, time\nif os.fork() == 0: time.sleep(60)", "took more than"),
        ("import os, time\nos.close(1); os.close(2); time.sleep(60)", "took more than"),
    ],
)
def test_what_a_plugin_does_is_bounded_and_not_repeated(script: str, words: str) -> None:
    began = time.monotonic()
    with pytest.raises(AccessError, match=words) as error:
        run_plugin(provider(script), {}, None, seconds=0.4)
    assert time.monotonic() - began < 10
    assert SECRET_WORDS not in str(error.value)


def test_a_program_that_is_not_there_and_too_much_for_it_are_named() -> None:
    with pytest.raises(AccessError, match="/nonexistent/plugin: No such file"):
        run_plugin(AccessProvider(name="x", command="/nonexistent/plugin"), {}, None)
    with pytest.raises(AccessError, match="have more than"):
        run_plugin(provider(GOOD, gives_cluster=True), {"server": "x"}, "x" * 200_000)


@pytest.mark.parametrize(
    ("tree", "words"),
    [
        ([], "no ExecCredential"),
        ({"kind": "Pod"}, "no ExecCredential"),
        ({"apiVersion": EXEC_API_VERSIONS[1]}, "another version than"),
        ({"status": None}, "neither a token nor"),
        ({"status": {"token": ["a"]}}, "no text that HTTP can hold"),
        ({"status": {"token": "a\r\nHost: b"}}, "no text that HTTP can hold"),
        ({"status": {"token": "木棉"}}, "no text that HTTP can hold"),
        ({"status": {"token": "a" * 40_000}}, "no text that HTTP can hold"),
        ({"status": {"clientCertificateData": "x"}}, "without its key"),
        ({"status": {"clientCertificateData": {}, "clientKeyData": 1}}, "without its key"),
        ({"status": {"token": "a", "expirationTimestamp": "soon"}}, "no time of RFC 3339"),
        ({"status": {"token": "a", "expirationTimestamp": 7}}, "no time of RFC 3339"),
        ({"status": {"token": "a", "expirationTimestamp": "2026-01-01T00:00:00"}}, "RFC 3339"),
    ],
)
def test_a_credential_that_is_none_is_named(tree: Any, words: str) -> None:  # noqa: ANN401 - JSON
    whole = tree if isinstance(tree, list) else {"apiVersion": V1, "kind": "ExecCredential"} | tree
    with pytest.raises(AccessError, match=words):
        parse_credential(json.dumps(whole).encode(), V1, "x")


# --- what is followed ---


class Followed:
    """One member by a profile of a hub that is not real, with plugins that are."""

    def __init__(self, *providers: AccessProvider) -> None:
        self.api = FakeHubApi(
            site("m1", mode="Push", clusterProfileRef={"namespace": "fleet", "name": "m1"})
        )
        self.api.objects[PROFILE] = profile()
        self.clock = FakeClock()
        self.reader = HubReader(
            self.api, ProfileAccesses(api=self.api, providers=providers, clock=self.clock)
        )

    def look(self) -> Access:
        """One look at the hub."""
        return self.reader.access_of(self.reader.push_sites()["m1"])

    def until(self, holds: Callable[[Access], bool]) -> Access:
        """Looks until it holds."""
        deadline = time.monotonic() + 20
        while not holds(access := self.look()):
            assert time.monotonic() < deadline, access
            threading.Event().wait(0.02)
        return access


@pytest.fixture
def follow() -> Iterator[Callable[..., Followed]]:
    made: list[Followed] = []

    def make(*providers: AccessProvider) -> Followed:
        made.append(Followed(*providers))
        return made[-1]

    yield make
    for one in made:
        one.reader.close()


Follow = Callable[..., Followed]


def is_usable(access: Access) -> bool:
    return not access.problem


def test_a_look_does_not_wait_for_a_plugin(follow: Follow) -> None:
    one = follow(provider("import time; time.sleep(60)"))
    began = time.monotonic()
    assert "has not answered yet" in one.look().problem
    one.reader.close()
    assert time.monotonic() - began < 5


def test_the_access_stays_one_object_while_a_profile_changes_elsewhere(follow: Follow) -> None:
    one = follow(provider(GOOD))
    access = one.until(is_usable)
    assert (access.server[0], access.bearer_token()) == ("m1.example.org", "t1")
    changed = profile()
    changed["status"]["properties"] = [{"name": "free-cpu.kapok.dev", "value": "7"}]
    one.api.objects[PROFILE] = changed
    one.clock.stand_still(3_600)
    assert one.look() is access


def test_a_token_is_renewed_before_it_expires_and_after_a_401(
    follow: Follow, tmp_path: Path
) -> None:
    count = tmp_path / "count"
    expiry = (FakeClock().now() + timedelta(seconds=3_600)).isoformat()
    script = (
        f"import json, os; p = {str(count)!r}\n"
        "n = int(open(p).read()) + 1 if os.path.exists(p) else 1; open(p, 'w').write(str(n))\n"
        "status = dict(token='t%d' % n)\n"
        f"if n == 1: status['expirationTimestamp'] = {expiry!r}\n"
        f"print(json.dumps(dict(apiVersion={V1!r}, kind='ExecCredential', status=status)))"
    )
    one = follow(provider(script))
    first = one.until(is_usable)
    one.clock.stand_still(2_800)
    assert one.look() is first
    one.clock.stand_still(100)
    second = one.until(lambda access: access is not first)
    assert second.bearer_token() == "t2"
    one.clock.stand_still(100)
    assert one.look() is second
    assert second.refused is not None
    second.refused.set()
    third = one.until(lambda access: access is not second)
    assert third.bearer_token() == "t3"


def test_old_credentials_are_used_until_they_expire_while_a_plugin_fails(
    follow: Follow, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    flag = tmp_path / "flag"
    expiry = (FakeClock().now() + timedelta(seconds=1_000)).isoformat()
    script = f"import os\nif os.path.exists({str(flag)!r}): raise SystemExit(3)\n" + printing(
        {"token": "t1", "expirationTimestamp": expiry}
    )
    one = follow(provider(script))
    first = one.until(is_usable)
    flag.touch()
    one.clock.stand_still(900)
    one.until(lambda _: "ended with code 3" in caplog.text)
    assert one.look() is first
    one.clock.stand_still(200)
    assert "ended with code 3" in one.look().problem
    assert one.look() is one.look()


def test_credentials_that_have_expired_already_are_none(follow: Follow) -> None:
    one = follow(provider(printing({"token": "t", "expirationTimestamp": "2020-01-01T00:00:00Z"})))
    access = one.until(lambda access: "not answered yet" not in access.problem)
    assert "compare its clock" in access.problem


@pytest.mark.parametrize(
    ("held", "words"),
    [
        (None, "ClusterProfile fleet/m1: not found on the hub"),
        ({"status": {"accessProviders": [{"name": "oidc"}]}}, r"providers \(oidc\) is in"),
        (
            {"status": {"accessProviders": [{"name": "木棉\x1b[31m\n" * 20}, {"name": 7}]}},
            r"\(, 木棉\?\[31m\?木棉",
        ),
        ({"status": {"accessProviders": "x"}}, r"\(none\) is in push.access_providers_file"),
        ({}, r"\(none\) is in"),
        (profile("http://m1"), "not an https URL"),
        (profile("https://169.254.169.254"), "no cluster's"),
        (profile(**{"insecure-skip-tls-verify": True}), "would give the credentials to any server"),
        (profile(**{"proxy-url": "http://x"}), "proxy-url is not supported"),
        (profile(**{"certificate-authority": "/etc/passwd"}), "names a file"),
        (profile(**{"certificate-authority-data": "?"}), "authority-data: not base64"),
        (profile(**{"certificate-authority-data": " "}), "authority-data: is empty"),
        (profile(**{"certificate-authority-data": "QUJD"}), "certificates"),
        (profile(**{"certificate-authority-data": 7}), "is not a text"),
        (profile(extensions=[{"name": "x", "extension": "y" * 300_000}]), "more than"),
        (MemberApiError(403, "Forbidden", "no"), "the hub forbids the push process"),
    ],
)
def test_a_profile_that_cannot_be_used_is_a_problem_by_name(
    follow: Follow, held: Tree | MemberApiError | None, words: str
) -> None:
    one = follow(provider(GOOD))
    one.api.objects.pop(PROFILE)
    if held is not None:
        one.api.objects[PROFILE] = held
    access = one.until(lambda access: "not answered yet" not in access.problem)
    with pytest.raises(AccessError, match=words):
        raise AccessError(access.problem)
    assert one.look() is access


def test_without_providers_the_setting_is_named(follow: Follow) -> None:
    assert "push.access_providers_file" in follow().look().problem


def test_the_operators_order_counts_and_the_newer_field_before_the_older(follow: Follow) -> None:
    one = follow(provider(GOOD, name="first"), provider("raise SystemExit(9)", name="cloud"))
    tree = profile("https://new.example.org")
    tree["status"]["accessProviders"].append(
        {"name": "first", "cluster": {"server": "https://new.example.org"}}
    )
    tree["status"]["credentialProviders"] = [
        {"name": "first", "cluster": {"server": "https://old.example.org"}}
    ]
    one.api.objects[PROFILE] = tree
    assert one.until(is_usable).server[0] == "new.example.org"
    del tree["status"]["accessProviders"]
    one.clock.stand_still(60)
    assert one.until(lambda access: access.host == "old.example.org").bearer_token() == "t1"


def test_a_profile_that_is_rewritten_all_the_time_starts_no_plugin_more_often(
    follow: Follow, tmp_path: Path
) -> None:
    log = tmp_path / "runs"
    one = follow(provider(f"open({str(log)!r}, 'a').write('x')\n{GOOD}"))
    for number in range(50):
        one.api.objects[PROFILE] = profile(f"https://m{number}.example.org")
        one.look()
    one.clock.stand_still(60)
    one.until(is_usable)
    assert len(log.read_text()) <= 2


def test_a_right_that_is_lost_ends_no_access(follow: Follow) -> None:
    one = follow(provider(GOOD))
    access = one.until(is_usable)
    one.api.objects[PROFILE] = MemberApiError(403, "Forbidden", "no")
    assert one.look() is access
    del one.api.objects[PROFILE]
    assert "not found" in one.look().problem


def test_a_401_is_noted_so_that_new_credentials_are_asked_for() -> None:
    import http.server  # noqa: PLC0415 - of this test alone

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_error(401)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - of the base
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.handle_request)
        thread.start()
        access = Access(host="127.0.0.1", port=server.server_port, refused=threading.Event())
        with pytest.raises(MemberApiError):
            MemberApi(access).get("/version")
        thread.join()
    assert access.refused is not None
    assert access.refused.is_set()
