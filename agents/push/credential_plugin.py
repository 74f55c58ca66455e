"""Runs a credential plugin and reads the ExecCredential that it prints.

The protocol is client.authentication.k8s.io (KEP-541): the request is in KUBERNETES_EXEC_INFO, the
answer is one JSON object on standard output. A plugin may hang, flood or print anything: its time
and its output are bounded, its process group is killed at the end, and no message repeats what it
printed, because that may be a credential.
"""

import base64
import contextlib
import json
import logging
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from agents.member.access import AccessError
from agents.member.trees import map_at
from agents.push.providers import AccessProvider

_log = logging.getLogger(__name__)

PLUGIN_SECONDS: Final = 30.0
MAX_OUTPUT_BYTES: Final = 64 * 1024
MAX_INFO_BYTES: Final = 96 * 1024
"""Linux refuses a single variable of 128 KiB."""
_MAX_TOKEN_CHARS: Final = 32 * 1024
_KEPT_WORDS_BYTES: Final = 2_048
_CHUNK: Final = 16 * 1024
_STOP_CHECK_SECONDS: Final = 0.25
_OWN_VARIABLES: Final = "KAPOK_"
_CLUSTER_INFO: Final = ("server", "certificate-authority-data")


@dataclass(frozen=True, slots=True, kw_only=True)
class Credential:
    """What a plugin gives.

    Attributes:
        user: as the user of a kubeconfig has it: `token`, or `client-certificate-data` and
            `client-key-data`.
        expires_at: seconds of the wall clock since 1970; None: the plugin does not say.
    """

    user: Mapping[str, str] = field(repr=False)
    expires_at: float | None


def run_plugin(
    provider: AccessProvider,
    cluster: Mapping[str, Any],
    config: Any,  # noqa: ANN401 - whatever the ClusterProfile holds for the plugin
    *,
    seconds: float = PLUGIN_SECONDS,
    stopped: threading.Event | None = None,
) -> Credential:
    """Asks a plugin for the credential of one cluster. It blocks.

    Args:
        provider: names the program.
        cluster: address and CA, as the cluster of a kubeconfig has them.
        config: the extension `client.authentication.k8s.io/exec` of the cluster; None: none.
        seconds: the plugin is killed after them.
        stopped: kills it sooner.

    Raises:
        AccessError: the plugin does not run, fails, takes too long, or prints no credential.
    """
    source = f"access provider {provider.name!r}"
    spec: dict[str, Any] = {"interactive": False}
    if provider.gives_cluster:
        spec["cluster"] = {name: cluster[name] for name in _CLUSTER_INFO if cluster.get(name)}
        if config is not None:
            spec["cluster"]["config"] = config
    request = {"apiVersion": provider.api_version, "kind": "ExecCredential", "spec": spec}
    info = json.dumps(request)
    if len(info) > MAX_INFO_BYTES:
        raise AccessError(f"{source}: address, CA and config have more than {MAX_INFO_BYTES} bytes")
    environment = {
        # The settings of the push process may hold passwords.
        **{key: value for key, value in os.environ.items() if not key.startswith(_OWN_VARIABLES)},
        **provider.environment,
        "KUBERNETES_EXEC_INFO": info,
    }
    command = [provider.command, *provider.arguments]
    output = _output_of(command, environment, seconds, source, stopped or threading.Event())
    return parse_credential(output, provider.api_version, source)


def parse_credential(output: bytes, api_version: str, source: str) -> Credential:
    """The credential in an ExecCredential.

    Args:
        output: what the plugin printed.
        api_version: that it was asked for.
        source: names the plugin in messages.

    Raises:
        AccessError: it is no ExecCredential of that version, or holds no usable credential.
    """
    try:
        tree = json.loads(output)
    except (ValueError, RecursionError):
        raise AccessError(f"{source}: the plugin printed no JSON") from None
    if not isinstance(tree, dict) or tree.get("kind") != "ExecCredential":
        raise AccessError(f"{source}: the plugin printed no ExecCredential")
    if tree.get("apiVersion") != api_version:
        raise AccessError(f"{source}: the plugin answers in another version than {api_version}")
    status = map_at(tree, "status")
    user: dict[str, str] = {}
    if token := status.get("token"):
        if not isinstance(token, str) or not _is_header_text(token):
            raise AccessError(f"{source}: the plugin's token is no text that HTTP can hold")
        user["token"] = token
    pair = [status.get(name) or "" for name in ("clientCertificateData", "clientKeyData")]
    if not all(isinstance(one, str) for one in pair) or bool(pair[0]) is not bool(pair[1]):
        raise AccessError(f"{source}: the plugin gives a client certificate without its key")
    if pair[0]:
        # A kubeconfig holds in base64 what a plugin prints as PEM.
        encoded = [base64.b64encode(one.encode("utf-8", "replace")).decode() for one in pair]
        user["client-certificate-data"], user["client-key-data"] = encoded
    if not user:
        raise AccessError(f"{source}: the plugin gives neither a token nor a client certificate")
    return Credential(user=user, expires_at=_expiry_of(status, source))


def _is_header_text(token: str) -> bool:
    return (
        len(token) <= _MAX_TOKEN_CHARS and token.isascii() and all("!" <= c <= "~" for c in token)
    )


def _expiry_of(status: Mapping[str, Any], source: str) -> float | None:
    text = status.get("expirationTimestamp")
    if text is None:
        return None
    try:
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is not None:
            return moment.timestamp()
    except (TypeError, ValueError, OverflowError):
        pass
    raise AccessError(f"{source}: the plugin's expirationTimestamp is no time of RFC 3339")


def _output_of(
    command: list[str],
    environment: Mapping[str, str],
    seconds: float,
    source: str,
    stopped: threading.Event,
) -> bytes:
    try:
        process = subprocess.Popen(  # noqa: S603 - of the operator's settings
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,  # so that what it starts is killed with it
        )
    except (OSError, ValueError) as error:
        words = getattr(error, "strerror", None) or type(error).__name__
        raise AccessError(f"{source}: {command[0]}: {words}") from error
    try:
        output, words = _read_both(process, time.monotonic() + seconds, stopped)
    except TimeoutError:
        raise AccessError(f"{source}: the plugin took more than {seconds:g} s") from None
    except OverflowError:
        raise AccessError(
            f"{source}: the plugin printed more than {MAX_OUTPUT_BYTES} bytes"
        ) from None
    finally:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for stream in (process.stdout, process.stderr):
            if stream is not None:
                stream.close()
    if process.returncode:
        # To the log alone: a problem of a site is read by everyone who may read Sites.
        _log.warning("%s: the plugin says: %s", source, _printable(words))
        raise AccessError(
            f"{source}: the plugin ended with code {process.returncode}; its words are in the log "
            "of the push process"
        )
    return output


def _read_both(
    process: subprocess.Popen[bytes], deadline: float, stopped: threading.Event
) -> tuple[bytes, bytes]:
    """Standard output, and the last words of standard error, until the program has ended.

    Raises:
        TimeoutError: it has not ended, or something that it started holds its output.
        OverflowError: the output is too large.
    """
    output, words = bytearray(), bytearray()
    with selectors.DefaultSelector() as selector:
        for stream, buffer in ((process.stdout, output), (process.stderr, words)):
            if stream is not None:
                selector.register(stream, selectors.EVENT_READ, buffer)
        while selector.get_map():
            remaining = deadline - time.monotonic()
            if remaining <= 0 or stopped.is_set():
                raise TimeoutError
            for key, _ in selector.select(min(remaining, _STOP_CHECK_SECONDS)):
                chunk = os.read(key.fd, _CHUNK)
                if not chunk:
                    selector.unregister(key.fileobj)
                key.data.extend(chunk)
                if key.data is words:
                    del words[:-_KEPT_WORDS_BYTES]
                elif len(output) > MAX_OUTPUT_BYTES:
                    raise OverflowError
    try:
        process.wait(max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired:
        raise TimeoutError from None
    return bytes(output), bytes(words)


def _printable(data: bytes) -> str:
    text = data.decode("utf-8", "replace")
    return "".join(each if each.isprintable() else " " for each in text).strip()[-500:]
