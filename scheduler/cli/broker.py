"""`kapok broker`: writes the settings of a production broker, and probes one for what it does."""

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

from scheduler.cli.support.arguments import (
    EXIT_GOOD,
    EXIT_NO,
    EXIT_USAGE,
    add_output_option,
    seconds_between,
)
from scheduler.cli.support.output import print_error, print_json, print_notice, print_text
from scheduler.mqtt.production.mosquitto_files import (
    MOSQUITTO_VERSIONS,
    ListenAddress,
    MosquittoChoices,
    mosquitto_files,
)

_EPILOG = """examples:
  kapok broker config --out broker                 mosquitto.conf and mosquitto.acl, into ./broker
  kapok broker config --mosquitto 2.1 --listen 0.0.0.0:443
  kapok broker config --websockets :443 --out broker    also MQTT over WebSocket, where only HTTPS
                                                   gets out of a site
  kapok broker check mqtts://broker.example.org --ca ca.crt --cert hub.crt --key hub.key \\
      --site room-1 --site-cert room-1.crt --site-key room-1.key
  kapok broker check mqtt://127.0.0.1:1883 -o json {"ok", "findings": [{"path", "severity", ...}]}

`check` connects as the scheduler and as one site, and tries everything that they need and what must
be refused. It publishes on topics of that site alone, takes about ten seconds and erases what it
has retained. A scheduler and an agent that run meanwhile count a few messages they cannot read.
Exit code: 0 good, perhaps with warnings, 1 something fails, 2 wrong usage."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok broker`."""
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(dest="broker_command", metavar="COMMAND", required=True)
    config = commands.add_parser("config", help="write the settings of mosquitto")
    config.add_argument(
        "--mosquitto",
        choices=MOSQUITTO_VERSIONS,
        default="2.0",
        help="form of the settings: 2.1 reads the topic rules by a plugin (default: %(default)s)",
    )
    config.add_argument(
        "--listen", metavar="ADDRESS:PORT", default="8883", help="MQTT over TLS (default: 8883)"
    )
    config.add_argument(
        "--websockets", metavar="ADDRESS:PORT", help="also MQTT over WebSocket and TLS, there"
    )
    config.add_argument(
        "--folder",
        default=MosquittoChoices().folder,
        help="folder of the files on the broker's machine (default: %(default)s)",
    )
    config.add_argument(
        "--plugins",
        metavar="FOLDER",
        default=MosquittoChoices().plugin_folder,
        help="folder of mosquitto's plugins there, for 2.1 (default: %(default)s)",
    )
    config.add_argument("--out", type=Path, metavar="DIR", help="write the files into DIR")
    add_output_option(config)
    _register_check(commands.add_parser("check", help="probe a broker for what Kapok needs"))


def _register_check(check: argparse.ArgumentParser) -> None:
    check.add_argument("url", metavar="URL", help="mqtts://HOST:PORT, mqtt://, wss:// or ws://")
    check.add_argument("--ca", metavar="FILE", default="", help="CA of the broker's certificate")
    for prefix, who in (("", "scheduler"), ("site-", "site")):
        check.add_argument(
            f"--{prefix}cert", metavar="FILE", default="", help=f"the {who}'s client certificate"
        )
        check.add_argument(f"--{prefix}key", metavar="FILE", default="", help="its key")
        check.add_argument(
            f"--{prefix}username", metavar="NAME", default="", help=f"the {who}'s user name"
        )
        check.add_argument(
            f"--{prefix}password-file", type=Path, metavar="FILE", help="file with its password"
        )
    check.add_argument("--site", metavar="NAME", help="the site of --site-cert or --site-username")
    check.add_argument(
        "--timeout",
        type=seconds_between(0.5, 60),
        default=5.0,
        metavar="SECONDS",
        help="longest wait of one step (default: 5)",
    )
    add_output_option(check)


def run(arguments: argparse.Namespace) -> int:
    """Writes settings, or probes a broker."""
    try:
        if arguments.broker_command == "config":
            return _config(arguments)
        return _check(arguments)
    except (ValueError, OSError) as error:
        print_error(f"broker {arguments.broker_command}", error)
        return EXIT_USAGE if isinstance(error, ValueError) else EXIT_NO


def _config(arguments: argparse.Namespace) -> int:
    choices = MosquittoChoices(
        version=arguments.mosquitto,
        listen=ListenAddress.parse(arguments.listen),
        websockets=ListenAddress.parse(arguments.websockets) if arguments.websockets else None,
        folder=arguments.folder.rstrip("/"),
        plugin_folder=arguments.plugins.rstrip("/"),
    )
    files = mosquitto_files(choices)
    steps = _steps(choices, arguments.out)
    if arguments.out is not None:
        _write_files(arguments.out, files)
    if arguments.output == "json":
        print_json({"files": dict(files), "steps": steps})
        return EXIT_GOOD
    if arguments.out is None:
        for name, text in files.items():
            print_text(f"# -------- {choices.folder}/{name}\n{text}")
    for number, step in enumerate(steps, 1):
        print_notice(f"{number}. {step}")
    return EXIT_GOOD


def _steps(choices: MosquittoChoices, out: Path | None) -> list[str]:
    folder, written = choices.folder, out or "the two files"
    files = f"--ca ca.crt --cert {choices.hub_user}.crt --key {choices.hub_user}.key"
    site = "--site SITE --site-cert SITE.crt --site-key SITE.key"
    copied = f"copy {written} to {folder}/ on the broker's machine, readable for user mosquitto"
    broker = "broker.crt and broker.key (the broker's own, for the name that agents connect to)"
    clients = f"the scheduler {choices.hub_user}, an agent the name of its Site"
    return [
        copied,
        f"put there ca.crt (the CA of all clients), {broker}",
        f"give each client a certificate; as common name {clients}",
        f"start it: mosquitto -c {folder}/mosquitto.conf",
        f"try it: kapok broker check mqtts://HOST:{choices.listen.port} {files} {site}",
    ]


def _write_files(folder: Path, files: Mapping[str, str]) -> None:
    """Writes the files, or none of them: what people have changed is not overwritten.

    Raises:
        FileExistsError: a file is there already, with another content.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        path = folder / name
        if path.exists() and path.read_text(encoding="utf-8") != text:
            raise FileExistsError(
                f"{path} is there already and differs; move it away, or use another --out"
            )
    for name, text in files.items():
        (folder / name).write_text(text, encoding="utf-8")


def _check(arguments: argparse.Namespace) -> int:
    # Paho and ssl take longer to load than `kapok broker config` runs.
    from scheduler.mqtt.production.probe_client import ProbeAddress, ProbeIdentity  # noqa: PLC0415
    from scheduler.mqtt.production.probes import BrokerProbes, check_broker, probed_site  # noqa: PLC0415
    from scheduler.mqtt.production.requirements import in_order, is_good  # noqa: PLC0415

    address = ProbeAddress.parse(arguments.url)
    hub = ProbeIdentity(
        name="the scheduler",
        ca_file=arguments.ca,
        certificate_file=arguments.cert,
        key_file=arguments.key,
        username=arguments.username,
        password=_password(arguments.password_file),
    )
    has_site = bool(arguments.site_cert or arguments.site_username)
    site_name = probed_site(arguments.site or arguments.site_username, has_site=has_site)
    site = hub
    if has_site:
        site = ProbeIdentity(
            name=f"site {site_name}",
            ca_file=arguments.ca,
            certificate_file=arguments.site_cert,
            key_file=arguments.site_key,
            username=arguments.site_username,
            password=_password(arguments.site_password_file),
        )
    probes = BrokerProbes(
        address=address, hub=hub, site=site, site_name=site_name, timeout_seconds=arguments.timeout
    )
    findings = in_order(check_broker(probes))
    is_ok = is_good(findings)
    if arguments.output == "json":
        print_json({"ok": is_ok, "findings": [asdict(one) for one in findings]})
    else:
        for one in findings:
            print_text(f"{one.severity}: {one.path}: {one.what}\n  {one.instead}")
        print_text(f"{address}: {'Kapok works on it' if is_ok else 'Kapok cannot use it as it is'}")
    return EXIT_GOOD if is_ok else EXIT_NO


def _password(file: Path | None) -> str:
    return file.read_text(encoding="utf-8").strip() if file else ""
