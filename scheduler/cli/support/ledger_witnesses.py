"""What `kapok ledger verify` compares the ledger with: files of agents, and the hub's objects.

The embedded hub's objects are read from its file, so that it may be running, stopped or gone; those
of a real cluster from its API, when `--kubeconfig` names it. Nothing is written.
"""

import asyncio
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import Any

from scheduler.apiserver.backup import DATABASE_NAME
from scheduler.cli.support.hub_access import existing_kubeconfig
from scheduler.control.ports.hub import (
    CONFIG_MAPS,
    NAMESPACE,
    WORKLOADS,
    ApiResource,
    HubError,
    NotFound,
)
from scheduler.control.state.ledger_heads import CONFIG_MAP, read_heads
from scheduler.hub.client import open_hub
from scheduler.ledger.witnesses import Witnesses, read_exported_heads
from scheduler.runtime.data_dir import HUB_PUBLIC_KEY_FILE, HUB_PUBLIC_KEYS_FILE

_MAX_FILE_BYTES = 8 << 20
_HUB_OBJECT = f"the hub's ConfigMap {NAMESPACE}/{CONFIG_MAP}"


class WitnessError(Exception):
    """A witness that the operator named cannot be read; the message names it."""


def trusted_keys_of(data_dir: Path, named: Iterable[str]) -> frozenset[str]:
    """The public keys with which this hub has signed, and those that the operator names."""
    keys = set(named)
    for file in (HUB_PUBLIC_KEYS_FILE, HUB_PUBLIC_KEY_FILE):
        try:
            keys.update((data_dir / file).read_text(encoding="utf-8").split())
        except (OSError, ValueError):
            continue  # a copy of the ledger alone, as an auditor has it
    return frozenset(keys)


def collect_witnesses(
    data_dir: Path,
    *,
    kubeconfig: str | None,
    files: Iterable[Path],
    trusted: frozenset[str],
) -> Witnesses:
    """Everything that is known of the ledger outside of it.

    Args:
        data_dir: the data directory, with or without an embedded hub.
        kubeconfig: of the hub, if it is not the embedded one of the data directory.
        files: what agents printed with `--print-heads`.
        trusted: the hub's public keys.

    Raises:
        HubNotFound: the kubeconfig does not exist.
        WitnessError: a file cannot be read, or the hub does not answer.
    """
    witnesses = Witnesses()
    for file in files:
        name, heads = _read_file(file)
        witnesses.add_heads(heads, witness=name, trusted=(), is_outside=True)
    if kubeconfig:
        workloads, config_map = asyncio.run(_read_hub(existing_kubeconfig(kubeconfig)))
    elif (data_dir / "hub" / DATABASE_NAME).is_file():
        workloads, config_map = _read_database(data_dir / "hub" / DATABASE_NAME)
    else:
        witnesses.notes.append(
            "no hub was compared: there is none in the data directory; name it with --kubeconfig"
        )
        return witnesses
    _add_statuses(witnesses, workloads)
    newest, by_site = read_heads(config_map)
    witnesses.add_heads(newest, witness=_HUB_OBJECT, trusted=trusted, is_outside=False)
    for site, heads in by_site.items():
        witnesses.add_heads(heads, witness=f"site {site}", trusted=trusted, is_outside=True)
    return witnesses


def _add_statuses(witnesses: Witnesses, workloads: Iterable[Mapping[str, Any]]) -> None:
    for one in workloads:
        metadata, status = _map(one.get("metadata")), _map(one.get("status"))
        decision = _map(status.get("decision"))
        name = f"{metadata.get('namespace', '')}/{metadata.get('name', '')}"
        values = [str(decision.get(key) or "") for key in ("id", "hash", "decidedAt")]
        witnesses.add_decision(name, *values)


def _map(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _read_file(file: Path) -> tuple[str, Iterable[object]]:
    try:
        with file.open("rb") as opened:
            data = opened.read(_MAX_FILE_BYTES + 1)
        if len(data) > _MAX_FILE_BYTES:
            raise WitnessError(f"{file}: larger than {_MAX_FILE_BYTES} bytes")
        return read_exported_heads(data.decode())
    except OSError as error:
        raise WitnessError(f"{file}: {error.strerror}") from error
    except ValueError as error:
        raise WitnessError(f"{file}: {error}") from error


async def _read_hub(path: Path) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
    try:
        async with open_hub(path) as client:
            workloads = await client.list(WORKLOADS)
            try:
                config_map = await client.get(CONFIG_MAPS, CONFIG_MAP, NAMESPACE)
            except NotFound:
                config_map = {}
    except HubError as error:
        raise WitnessError(f"the hub of {path}: {error}") from error
    return list(workloads.items), config_map


def _read_database(path: Path) -> tuple[list[Mapping[str, Any]], Mapping[str, Any]]:
    try:
        with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as database:
            workloads = list(_objects(database, WORKLOADS))
            config_maps = _objects(database, CONFIG_MAPS, f"{NAMESPACE}/{CONFIG_MAP}")
            return workloads, next(config_maps, {})
    except (sqlite3.Error, ValueError) as error:
        raise WitnessError(f"{path}: the hub's objects cannot be read: {error}") from error


def _objects(
    database: sqlite3.Connection, resource: ApiResource, key: str | None = None
) -> Iterator[Mapping[str, Any]]:
    """Objects of a kind, as the API server keeps them: by GROUP/PLURAL and NAMESPACE/NAME."""
    query = "SELECT data FROM objects WHERE resource = ? AND (? IS NULL OR key = ?)"
    name = f"{resource.group}/{resource.plural}"
    for (data,) in database.execute(query, (name, key, key)):
        yield _map(json.loads(data))
