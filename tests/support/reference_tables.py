"""The reference pages of the documents, from the types, parsers and catalogues of the code."""

import argparse
import importlib
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from scheduler.cli.entry import COMMANDS
from scheduler.cli.support.command_parser import CommandParser
from scheduler.hub.crds.generate import make_crds
from scheduler.model.reasons import REASONS
from scheduler.setting_checks import describe_type, each_setting
from scheduler.settings import Settings
from scheduler.words.catalogue import catalogue_text
from tests.support.catalogues import declared_messages
from tests.support.reason_fixes import FIXES

ROOT = Path(__file__).resolve().parents[2]
_SETTING = re.compile(r"^(?P<indent> *)(?P<key>[a-z_]+):(?P<value>[^#]*?)(?:#(?P<comment>.*))?$")
_COMMENT = re.compile(r"^ +# ?(?P<comment>.*)$")


def cell(text: object) -> str:
    """Text as a cell of a Markdown table: one line, and nothing in it is markup of a table."""
    return " ".join(str(text).split()).replace("|", "\\|").replace("<", "&lt;")


def reason_pages() -> Iterator[str]:
    """Each reason with its cause, who can change it, and what to do."""
    sentences = json.loads(catalogue_text("en"))["reasons"]
    yield "| reason | cause | who can change it | fix |"
    yield "|---|---|---|---|"
    for reason, meaning in REASONS.items():
        who = sentences[reason]["who"]
        yield f"| `{reason}` | {cell(meaning)} | {who} | {cell(FIXES[reason])} |"


def message_rows() -> Iterator[str]:
    """Each sentence of statuses, conditions and answers, in both languages."""
    chinese = json.loads(catalogue_text("zh"))["messages"]
    yield "| slug | sentence | 中文 |"
    yield "|---|---|---|"
    for slug, sentence in declared_messages().items():
        yield f"| `{slug}` | {cell(sentence)} | {cell(chinese.get(slug, ''))} |"


def scheduler_setting_rows() -> Iterator[str]:
    """Each setting of the scheduler with type, range and the comment of its example file."""
    comments = setting_comments(ROOT / "configs/scheduler.yaml")
    defaults = yaml.safe_load((ROOT / "configs/scheduler.yaml").read_text(encoding="utf-8"))
    yield "| setting | takes | default | meaning |"
    yield "|---|---|---|---|"
    for path, expected in each_setting(Settings):
        default = _at(defaults, path)
        takes, meaning = cell(describe_type(expected)), cell(comments.get(path, ""))
        yield f"| `{path}` | {takes} | `{cell(_shown(default))}` | {meaning} |"


def agent_setting_rows() -> Iterator[str]:
    """Each setting of the agent's example file with its value and comment there."""
    file = ROOT / "configs/agent.yaml"
    example = yaml.safe_load(file.read_text(encoding="utf-8"))
    yield "| setting | value in the example | meaning |"
    yield "|---|---|---|"
    for path, comment in setting_comments(file).items():
        value = _at(example, path)
        if not isinstance(value, dict) or not value:
            yield f"| `{path}` | `{cell(_shown(value))}` | {cell(comment)} |"


def setting_comments(file: Path) -> dict[str, str]:
    """The comment beside each key of a settings file, with its further lines, by dotted path."""
    found, parents = dict[str, str](), list[tuple[int, str]]()
    path = ""
    for line in file.read_text(encoding="utf-8").splitlines():
        if match := _SETTING.match(line):
            indent = len(match["indent"])
            parents = [one for one in parents if one[0] < indent]
            parents.append((indent, match["key"]))
            path = ".".join(key for _, key in parents)
            found[path] = (match["comment"] or "").strip()
        elif path and (more := _COMMENT.match(line)):
            found[path] = f"{found[path]} {more['comment'].strip()}".strip()
    return found


def _at(tree: Any, path: str) -> Any:  # noqa: ANN401 - any YAML
    for key in path.split("."):
        tree = tree.get(key, "") if isinstance(tree, dict) else ""
    return tree


def _shown(value: object) -> str:
    return '""' if value == "" else str(value).lower() if isinstance(value, bool) else str(value)


def kind_rows() -> Iterator[str]:
    """Each kind with a table of its fields."""
    for crd in make_crds():
        names, schema = crd["spec"]["names"], _schema_of(crd)
        yield f"## {names['kind']}"
        yield ""
        scope = crd["spec"]["scope"].lower()
        called = ", ".join(f"`{one}`" for one in (names["plural"], *names.get("shortNames", [])))
        yield f"{cell(schema['description'])} Its scope is {scope}; its names are {called}."
        yield ""
        yield "| field | type | meaning |"
        yield "|---|---|---|"
        for part in ("spec", "status"):
            if part in schema["properties"]:
                yield from _field_rows(part, schema["properties"][part])
        yield ""


def _schema_of(crd: dict[str, Any]) -> dict[str, Any]:
    schema: dict[str, Any] = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    return schema


def _field_rows(path: str, schema: dict[str, Any]) -> Iterator[str]:
    yield f"| `{path}` | {cell(_type_of(schema))} | {cell(schema.get('description', ''))} |"
    inner = schema.get("items", schema)
    suffix = "[]" if "items" in schema else ""
    for name, field in inner.get("properties", {}).items():
        yield from _field_rows(f"{path}{suffix}.{name}", field)


def _type_of(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        words = ", ".join(f"`{one}`" for one in schema["enum"])
    elif schema.get("x-kubernetes-int-or-string"):
        words = "integer or string"
    elif "items" in schema:
        words = f"list of {schema['items'].get('type', 'any')}"
    else:
        words = str(schema.get("type", "any"))
    least, most = schema.get("minimum"), schema.get("maximum")
    if least is not None or most is not None:
        words += f", {'' if least is None else least} to {'' if most is None else most}"
    return f"{words}; default `{_shown(schema['default'])}`" if "default" in schema else words


def command_rows() -> Iterator[str]:
    """Each command with its arguments and its notes, as its parser has them."""
    for name, purpose in COMMANDS.items():
        module = importlib.import_module(f"scheduler.cli.{name.replace('-', '_')}")
        parser = CommandParser(prog=f"kapok {name}", description=purpose)
        if not getattr(module, "PASSES_WORDS_THROUGH", False):
            module.register(parser)
        yield f"## kapok {name}"
        yield ""
        yield f"{purpose[0].upper()}{cell(purpose[1:])}."
        yield ""
        yield from _arguments_of(parser)
        if parser.epilog:
            yield from ("```text", *parser.epilog.strip().splitlines(), "```", "")


def _arguments_of(parser: argparse.ArgumentParser) -> Iterator[str]:
    rows = list(_argument_rows(parser, ""))
    if rows:
        yield from ("| argument | meaning |", "|---|---|", *rows, "")


def _argument_rows(parser: argparse.ArgumentParser, before: str) -> Iterator[str]:
    for action in parser._actions:  # noqa: SLF001 - argparse has no other way to list them
        if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - as above
            purposes = {one.dest: one.help for one in action._choices_actions}  # noqa: SLF001
            for name, inner in action.choices.items():
                yield f"| **`{before}{name}`** | {cell(purposes.get(name) or '')} |"
                yield from _argument_rows(inner, f"{before}{name} ")
        elif action.help != argparse.SUPPRESS and action.dest != "help":
            words = ", ".join(action.option_strings) or str(action.metavar or action.dest)
            help_text = (action.help or "").replace("%(default)s", str(action.default))
            yield f"| `{before}{cell(words)}` | {cell(help_text)} |"
