"""Reads how a server is reached and logged in to: a kubeconfig, or the cluster that it runs in.

`kubernetes.aio` reads kubeconfigs and supports all ways to log in (tokens, certificates, exec
plugins, in-cluster service accounts). Importing it brings some 300 modules, which take 22 MiB and a
quarter of the CPU time of a start. A kubeconfig that names only a server, its certificate authority
and a token, as that of the embedded hub does, is therefore read here.
"""

import base64
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
import yaml

from scheduler.control.ports.hub import Refused

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class _Cluster(msgspec.Struct, rename="kebab", forbid_unknown_fields=True):
    server: str
    certificate_authority_data: str = ""
    extensions: Any = None


class _NamedCluster(msgspec.Struct):
    name: str
    cluster: _Cluster


class _User(msgspec.Struct, forbid_unknown_fields=True):
    token: str
    extensions: Any = None


class _NamedUser(msgspec.Struct):
    name: str
    user: _User


class _Context(msgspec.Struct):
    cluster: str
    user: str


class _NamedContext(msgspec.Struct):
    name: str
    context: _Context


class _Plain(msgspec.Struct, rename="kebab"):
    clusters: list[_NamedCluster]
    users: list[_NamedUser]
    contexts: list[_NamedContext]
    current_context: str = ""


class ServerConfiguration(Protocol):
    """How a server is reached; `kubernetes.aio.client.Configuration` has these and more.

    Attributes:
        host: its URL.
        verify_ssl: whether its certificate is verified.
        ssl_ca_cert: the file with its certificate authorities; None: no file.
        ca_cert_data: these themselves, as PEM; None: not given.
        cert_file: the file with our certificate; None: none.
        key_file: the file with its key.
    """

    host: str
    verify_ssl: bool
    ssl_ca_cert: str | None
    ca_cert_data: str | None
    cert_file: str | None
    key_file: str | None

    async def auth_settings(self) -> dict[str, Any]:
        """What a request logs in with: `BearerToken`, with `key` and `value` of a header."""
        ...


@dataclass(slots=True, kw_only=True)
class PlainConfiguration:
    """Implements `ServerConfiguration` for a server, its certificate authority and a token."""

    host: str
    token: str
    ca_cert_data: str | None
    verify_ssl: bool = True
    ssl_ca_cert: str | None = None
    cert_file: str | None = None
    key_file: str | None = None

    async def auth_settings(self) -> dict[str, Any]:
        """The token's header; nothing without a token."""
        if not self.token:
            return {}
        return {"BearerToken": {"key": "authorization", "value": f"Bearer {self.token}"}}


async def read_configuration(kubeconfig: Path | None, context: str | None) -> ServerConfiguration:
    """Reads address, certificate authority and credentials of a server.

    Args:
        kubeconfig: the path of the file; None means the in-cluster service account.
        context: the name of a context; None means the current context of the file.

    Raises:
        Refused: the kubeconfig is missing or invalid.
    """
    plain = _read_plain(kubeconfig, context) if kubeconfig is not None else None
    return plain or await _read_by_library(kubeconfig, context)


def _read_plain(kubeconfig: Path, context: str | None) -> PlainConfiguration | None:
    """Reads a kubeconfig that needs no more than this; None: another one, or one with an error."""
    try:
        document = yaml.load(kubeconfig.read_bytes(), Loader=_Loader)  # noqa: S506 - a safe loader
        read = msgspec.convert(document, _Plain)
        [chosen] = [one for one in read.contexts if one.name == (context or read.current_context)]
        [cluster] = [one for one in read.clusters if one.name == chosen.context.cluster]
        [user] = [one for one in read.users if one.name == chosen.context.user]
        data = base64.b64decode(cluster.cluster.certificate_authority_data, validate=True)
        return PlainConfiguration(
            host=cluster.cluster.server.rstrip("/"),
            token=user.user.token,
            ca_cert_data=data.decode("ascii") or None,
        )
    except (OSError, ValueError, yaml.YAMLError):  # msgspec's and base64's errors are ValueErrors
        return None


async def _read_by_library(kubeconfig: Path | None, context: str | None) -> ServerConfiguration:
    from kubernetes.aio import config as kube_config  # noqa: PLC0415 - the module docstring says why
    from kubernetes.aio.client import Configuration  # noqa: PLC0415 - see above

    loader: Any = kube_config  # the package ships no types
    configuration: Any = Configuration()
    try:
        if kubeconfig is None:
            loader.load_incluster_config(client_configuration=configuration)
        else:
            await loader.load_kube_config(
                str(kubeconfig),
                context=context,
                client_configuration=configuration,
                persist_config=False,
            )
    except (loader.ConfigException, OSError) as error:
        raise Refused(f"{kubeconfig or 'in-cluster configuration'}: {error}") from error
    except (AttributeError, LookupError, TypeError, ValueError, yaml.YAMLError) as error:
        # The library takes for granted what kind of value stands where.
        raise Refused(f"{kubeconfig}: invalid kubeconfig: {error}") from error
    read: ServerConfiguration = configuration
    return read


async def bearer_token_of(kubeconfig: Path, context: str | None = None) -> str | None:
    """The bearer token of a kubeconfig; None if it logs in by other means.

    Raises:
        Refused: the kubeconfig is missing or invalid.
    """
    configuration = await read_configuration(kubeconfig, context)
    bearer: Any = (await configuration.auth_settings()).get("BearerToken")
    return str(bearer["value"]).partition(" ")[2] if bearer else None


def ssl_context_of(
    configuration: ServerConfiguration, *, with_certificate: bool = True
) -> ssl.SSLContext | bool:
    """The TLS settings: how the server is verified, and the client certificate if there is one."""
    if not str(configuration.host).startswith("https"):
        return True
    context = ssl.create_default_context(
        cafile=configuration.ssl_ca_cert, cadata=configuration.ca_cert_data
    )
    # Certificate authorities of clusters often lack extensions that strict X.509 requires.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if configuration.cert_file and with_certificate:
        context.load_cert_chain(configuration.cert_file, keyfile=configuration.key_file)
    if not configuration.verify_ssl:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context
