"""Access providers: which credential plugin runs for which provider of a ClusterProfile.

The file has the form that `--clusterprofile-provider-file` of sigs.k8s.io/cluster-inventory-api has
(KEP-5339). It is the operator's, and only it names a program: a ClusterProfile names a provider,
and what it says of arguments or variables is not used.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from agents.member.access import AccessError

MAX_FILE_BYTES: Final = 256 * 1024
MAX_PROVIDERS: Final = 64
EXEC_API_VERSIONS: Final = (
    "client.authentication.k8s.io/v1",
    "client.authentication.k8s.io/v1beta1",
)

_PROVIDER_FIELDS: Final = {
    "name",
    "execConfig",
    "profileSourcedCLIArgsPolicy",
    "profileSourcedEnvVarsPolicy",
}
_EXEC_FIELDS: Final = {
    "apiVersion",
    "command",
    "args",
    "env",
    "installHint",
    "interactiveMode",
    "provideClusterInfo",
}
_POLICIES: Final = ("profileSourcedCLIArgsPolicy", "profileSourcedEnvVarsPolicy")


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessProvider:
    """A provider of access and the plugin that gives its credentials.

    Attributes:
        name: as ClusterProfiles name it.
        command: an absolute path, or a name that is looked up in PATH.
        arguments: of the plugin.
        environment: variables beside those of the push process.
        api_version: of the ExecCredential.
        gives_cluster: whether the request to the plugin holds the address and CA of the cluster.
    """

    name: str
    command: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_version: str = EXEC_API_VERSIONS[0]
    gives_cluster: bool = False


def load_providers(path: str) -> tuple[AccessProvider, ...]:
    """The providers of a file, the preferred one first; none if no file is named.

    Raises:
        AccessError: the file cannot be read, or a field in it; the message names both.
    """
    if not path:
        return ()
    try:
        with Path(path).open("rb") as file:
            data = file.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise AccessError(f"push.access_providers_file: {path}: {error.strerror}") from error
    if len(data) > MAX_FILE_BYTES:
        raise AccessError(f"{path}: more than {MAX_FILE_BYTES} bytes")
    try:
        tree = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise AccessError(f"{path}: not JSON: {str(error)[:200]}") from error
    listed = tree.get("providers") if isinstance(tree, dict) else None
    if not isinstance(listed, list):
        raise AccessError(f"{path}: a map with a list `providers` is expected")
    if len(listed) > MAX_PROVIDERS:
        raise AccessError(f"{path}: {len(listed)} providers, and at most {MAX_PROVIDERS} are read")
    found = [_provider_of(each, f"{path}: providers[{at}]") for at, each in enumerate(listed)]
    names = [one.name for one in found]
    for name in names:
        if names.count(name) > 1:
            raise AccessError(f"{path}: provider {name!r} is there twice")
    return tuple(found)


def _provider_of(tree: Any, where: str) -> AccessProvider:  # noqa: ANN401 - JSON
    provider = _map(tree, where, _PROVIDER_FIELDS)
    for policy in _POLICIES:
        if provider.get(policy, "Ignore") not in ("", "Ignore"):
            raise AccessError(
                f"{where}.{policy}: only Ignore is supported; anything else would let "
                "writers of a ClusterProfile say how a program beside the hub is called"
            )
    config = _map(provider.get("execConfig"), f"{where}.execConfig", _EXEC_FIELDS)
    where_exec = f"{where}.execConfig"
    version = _text(config, "apiVersion", where_exec)
    if version not in EXEC_API_VERSIONS:
        raise AccessError(f"{where_exec}.apiVersion: one of {', '.join(EXEC_API_VERSIONS)}")
    command = _text(config, "command", where_exec)
    if "/" in command and not command.startswith("/"):
        raise AccessError(f"{where_exec}.command: an absolute path, or a name in PATH, is expected")
    if config.get("interactiveMode") == "Always":
        raise AccessError(
            f"{where_exec}.interactiveMode: a push process has no terminal; use Never"
        )
    return AccessProvider(
        name=_text(provider, "name", where),
        command=command,
        arguments=tuple(
            _plain_text(each, f"{where_exec}.args[{at}]")
            for at, each in enumerate(_list(config.get("args"), f"{where_exec}.args"))
        ),
        environment=_environment(config.get("env"), f"{where_exec}.env"),
        api_version=version,
        gives_cluster=_flag(config.get("provideClusterInfo"), f"{where_exec}.provideClusterInfo"),
    )


def _environment(tree: Any, where: str) -> dict[str, str]:  # noqa: ANN401 - JSON
    found: dict[str, str] = {}
    for at, each in enumerate(_list(tree, where)):
        pair = _map(each, f"{where}[{at}]", {"name", "value"})
        name = _text(pair, "name", f"{where}[{at}]")
        if "=" in name:
            raise AccessError(f"{where}[{at}].name: not the name of a variable")
        found[name] = _plain_text(pair.get("value", ""), f"{where}[{at}].value")
    return found


def _map(tree: Any, where: str, known: Iterable[str]) -> dict[str, Any]:  # noqa: ANN401 - JSON
    if not isinstance(tree, dict):
        raise AccessError(f"{where}: a map is expected")
    for name in sorted(tree.keys() - set(known)):
        raise AccessError(f"{where}: unknown field {name!r:.100}")
    return tree


def _list(tree: Any, where: str) -> list[Any]:  # noqa: ANN401 - JSON
    if tree is not None and not isinstance(tree, list):
        raise AccessError(f"{where}: a list is expected")
    return tree or []


def _flag(value: Any, where: str) -> bool:  # noqa: ANN401 - JSON
    if value is not None and not isinstance(value, bool):
        raise AccessError(f"{where}: true or false is expected")
    return bool(value)


def _text(tree: Mapping[str, Any], name: str, where: str) -> str:
    value = _plain_text(tree.get(name, ""), f"{where}.{name}")
    if not value:
        raise AccessError(f"{where}.{name}: is missing")
    return value


def _plain_text(value: Any, where: str) -> str:  # noqa: ANN401 - JSON
    if not isinstance(value, str) or "\0" in value:
        raise AccessError(f"{where}: a text is expected")
    return value
