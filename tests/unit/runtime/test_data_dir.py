"""The data directory keeps the ports of its servers."""

import socket
from pathlib import Path

import pytest

from scheduler.runtime import data_dir
from scheduler.runtime.data_dir import PORTS_FILE, locked_data_directory

EPHEMERAL = Path("/proc/sys/net/ipv4/ip_local_port_range")
NAMES = ("hub", "broker", "web")


def test_chosen_ports_differ_are_kept_and_are_no_near_ends_of_connections(tmp_path: Path) -> None:
    with locked_data_directory(tmp_path) as directory:
        chosen = {name: directory.port(name, 0) for name in NAMES}
    assert len(set(chosen.values())) == len(NAMES)
    first, _last = map(int, EPHEMERAL.read_text().split())
    assert all(port < first for port in chosen.values())
    with locked_data_directory(tmp_path) as directory:
        assert {name: directory.port(name, 0) for name in NAMES} == chosen
        assert directory.port("web", 12345) == 12345, "the settings win, and are recorded"
    assert '"web": 12345' in (tmp_path / PORTS_FILE).read_text()


def test_a_port_that_something_listens_on_is_not_chosen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        locked_data_directory(tmp_path) as directory,
    ):
        port = taken.getsockname()[1]
        monkeypatch.setattr(data_dir, "_CHOSEN_PORTS", range(port, port + 1))
        assert directory.port("hub", 0) != port
