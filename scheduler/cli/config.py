"""`kapok config check`: reports everything that is wrong with a settings file."""

import argparse
from pathlib import Path

import msgspec

from scheduler.cli.support.arguments import EXIT_GOOD, EXIT_NO, add_output_option
from scheduler.cli.support.output import print_json, print_text
from scheduler.setting_checks import describe_type, each_setting
from scheduler.settings import Settings, check_settings_file

_EPILOG = """examples:
  kapok config check scheduler.yaml            every problem, and what to write instead
  kapok config check scheduler.yaml -o json    {"ok", "findings": [{"path", "severity", ...}]}
  kapok config show                            every setting with type, range and unit

`kapok up --config FILE` makes the same check at its start.
Exit code: 0 the file can be used, perhaps with warnings, 1 it cannot, 2 wrong usage."""


def register(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments of `kapok config`."""
    parser.epilog = _EPILOG
    commands = parser.add_subparsers(dest="config_command", metavar="COMMAND", required=True)
    check = commands.add_parser("check", help="check a settings file")
    check.add_argument(
        "file", nargs="?", type=Path, metavar="FILE", help="settings (default: built-in values)"
    )
    add_output_option(check)
    add_output_option(commands.add_parser("show", help="list every setting with its range"))


def run(arguments: argparse.Namespace) -> int:
    """Checks a file, or lists the settings."""
    if arguments.config_command == "show":
        return _show(as_json=arguments.output == "json")
    findings = check_settings_file(arguments.file)
    is_good = all(one.severity != "error" for one in findings)
    if arguments.output == "json":
        print_json({"ok": is_good, "findings": [msgspec.structs.asdict(one) for one in findings]})
    else:
        name = arguments.file or "built-in values"
        for one in findings:
            print_text(f"{one.severity}: {one.line}")
        print_text(f"{name}: {'can be used' if is_good else 'cannot be used'}")
    return EXIT_GOOD if is_good else EXIT_NO


def _show(*, as_json: bool) -> int:
    known = {path: describe_type(expected) for path, expected in each_setting(Settings)}
    if as_json:
        print_json({"settings": [{"path": path, "takes": text} for path, text in known.items()]})
    else:
        for path, text in known.items():
            print_text(f"{path}: {text}")
    return EXIT_GOOD
