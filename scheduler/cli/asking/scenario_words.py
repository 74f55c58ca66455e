"""Words and files of a scenario: which words are options, and what the files say.

`-f` after add, grant or policy names what these are about. Before the first of these words, or
after any other one, it names a saved scenario, or files that hold the fleet. A saved scenario is:

    apiVersion: kapok.dev/v1alpha1
    kind: WhatIf
    metadata: {name: south-lost}
    spec:
      scenario:
        - lose province=CN-GD
        - add -f spare.yaml       # files are named from the folder of this one
        - -f winter.yaml          # another saved scenario
"""

import argparse
import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from scheduler.cli.support.manifest_files import ManifestFileError, read_objects
from scheduler.cli.support.offline_input import (
    OfflineInput,
    OfflineInputError,
    fleet_of,
    read_offline_input,
)
from scheduler.whatif.scenario.changes import (
    AddSites,
    Change,
    ChangeGrants,
    ChangePolicies,
    ScenarioError,
)
from scheduler.whatif.scenario.words import FILE_OPTIONS, VERBS, read_scenario

KIND = "WhatIf"
_OF_FILES = frozenset({"add", "grant", "policy"})
_NUMBER = re.compile(r"-[0-9.]+([eE][+-]?[0-9]+)?")
_IS_SCENARIO = re.compile(rf"""^\s*["']?kind["']?\s*:\s*["']?{KIND}\b""", re.MULTILINE)
_MAX_PEEKED_BYTES = 64 * 1024
_MAX_FILES = 16


@dataclass(slots=True)
class AskedWords:
    """The words of a command line, sorted.

    Attributes:
        options: for argparse.
        scenario: the scenario's own words, with its files.
        files: saved scenarios, and files that hold the fleet.
    """

    options: list[str] = field(default_factory=list)
    scenario: list[str] = field(default_factory=list)
    files: list[str] = field(default_factory=list)


def sort_words(words: Sequence[str], takes_value: frozenset[str]) -> AskedWords:
    """Sorts the words of a command line.

    Args:
        words: after the command.
        takes_value: the options that are followed by a value.

    Raises:
        ScenarioError: `-f` names no file.
    """
    found, verb, rest = AskedWords(), "", list(words)
    while rest:
        word = rest.pop(0)
        option, equals, value = word.partition("=")
        if option in FILE_OPTIONS:
            if not equals and not rest:
                raise ScenarioError(f"{word}: name a file")
            name = value if equals else rest.pop(0)
            if verb in _OF_FILES:
                found.scenario += ["-f", name]
            else:
                found.files.append(name)
        elif word.startswith("-") and not _NUMBER.fullmatch(word):
            found.options.append(word)
            if word in takes_value and rest:
                found.options.append(rest.pop(0))
        else:
            verb = word if word in VERBS else verb
            found.scenario.append(word)
    return found


def options_with_values(parser: argparse.ArgumentParser) -> frozenset[str]:
    """The options of a parser that are followed by a value."""
    actions = parser._actions  # noqa: SLF001 - argparse has no other list
    return frozenset(
        name for action in actions if action.nargs is None for name in action.option_strings
    )


@dataclass(frozen=True, slots=True)
class AskedScenario:
    """A scenario, and the files that hold the fleet.

    Attributes:
        changes: the scenario.
        fleet_files: empty: the running scheduler is asked.
    """

    changes: tuple[Change, ...]
    fleet_files: tuple[str, ...]


def read_asked(asked: AskedWords) -> AskedScenario:
    """The scenario of the words and the saved scenarios, and the files of the fleet.

    Raises:
        ScenarioError: a file or a word cannot be read.
    """
    scenarios = [name for name in asked.files if is_scenario_file(name)]
    words = [word for name in scenarios for word in saved_words(name)]
    changes = read_scenario([*words, *asked.scenario], read_change_file)
    fleet_files = tuple(name for name in asked.files if name not in scenarios)
    return AskedScenario(changes=changes, fleet_files=fleet_files)


def is_scenario_file(name: str) -> bool:
    """Whether a file holds a saved scenario; folders and stdin hold the fleet."""
    path = Path(name)
    if name == "-" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            text = file.read(_MAX_PEEKED_BYTES).decode("utf-8", errors="replace")
    except OSError as error:
        raise ScenarioError(f"{name}: {error.strerror}") from error
    return _IS_SCENARIO.search(text) is not None


def saved_words(name: str, above: tuple[Path, ...] = ()) -> Iterator[str]:
    """The words of a saved scenario, and of those that it names.

    Args:
        name: the file.
        above: the files that name it.

    Raises:
        ScenarioError: the file is no saved scenario, or names itself.
    """
    path = Path(name).resolve()
    if path in above:
        chain = " → ".join(one.name for one in (*above, path))
        raise ScenarioError(f"{name}: the scenario names itself: {chain}")
    if len(above) >= _MAX_FILES:
        raise ScenarioError(f"{name}: scenarios name each other more than {_MAX_FILES} deep")
    for line in _lines_of(name):
        words = _split_line(name, line)
        if words[0] in FILE_OPTIONS:
            for other in words[1:]:
                yield from saved_words(str(path.parent / other), (*above, path))
            continue
        for place, word in enumerate(words):
            is_file = place and words[place - 1] in FILE_OPTIONS
            yield str(path.parent / word) if is_file else word


def _split_line(name: str, line: object) -> list[str]:
    if not isinstance(line, str) or not line.strip():
        raise ScenarioError(f"{name}: spec.scenario: {line!r} is no line such as: drain gz-edge")
    try:
        return shlex.split(line)
    except ValueError as error:
        raise ScenarioError(f"{name}: spec.scenario: {line!r}: {error}") from None


def _lines_of(name: str) -> list[Any]:
    found: list[Any] = []
    for one in _objects_of(name):
        if one["kind"] != KIND:
            raise ScenarioError(
                f"{name}: holds a {one['kind']} besides a {KIND}; keep the fleet in other files"
            )
        spec = one.get("spec")
        lines = spec.get("scenario") if isinstance(spec, dict) else None
        if not isinstance(lines, list) or not lines:
            raise ScenarioError(
                f"{name}: {KIND} {one['metadata']['name']}: spec.scenario is missing; it is a list "
                "of lines such as: drain gz-edge"
            )
        found += lines
    return found


def _objects_of(name: str) -> list[dict[str, Any]]:
    try:
        return list(read_objects([name]))
    except ManifestFileError as error:
        raise ScenarioError(str(error)) from error


def read_change_file(verb: str, name: str) -> Change:
    """The change that a file describes for add, grant or policy.

    Raises:
        ScenarioError: the file holds something else, or nothing.
    """
    try:
        inputs = read_offline_input([name])
        change = partial(_FILE_READERS[verb], inputs)()
    except OfflineInputError as error:
        raise ScenarioError(f"{verb} -f {name}: {error}") from error
    if change is None:
        raise ScenarioError(f"{verb} -f {name}: the file holds no {_WANTED[verb]}")
    others = [kind for kind, some in _kinds_of(inputs).items() if some and kind not in _USED[verb]]
    if others:
        raise ScenarioError(
            f"{verb} -f {name}: the file holds a {others[0]}, which {verb} does not take; it takes "
            f"{_WANTED[verb]}"
        )
    return change


def _added_sites(inputs: OfflineInput) -> Change | None:
    facts = tuple(fleet_of(inputs).all_facts())
    return AddSites(facts=facts) if facts else None


def _changed_grants(inputs: OfflineInput) -> Change | None:
    return ChangeGrants(grants=tuple(inputs.grants)) if inputs.grants else None


def _changed_policies(inputs: OfflineInput) -> Change | None:
    if not inputs.policies and not inputs.cluster_policies:
        return None
    return ChangePolicies(
        policies=tuple(inputs.policies), cluster_policies=tuple(inputs.cluster_policies)
    )


def _kinds_of(inputs: OfflineInput) -> dict[str, list[Any]]:
    return {
        "Site": inputs.sites,
        "SiteGrant": inputs.grants,
        "DataClassScheme": inputs.schemes,
        "Tenant": inputs.tenants,
        "PlacementPolicy": inputs.policies,
        "ClusterPlacementPolicy": inputs.cluster_policies,
        "Workload": inputs.workloads,
    }


_FILE_READERS = {"add": _added_sites, "grant": _changed_grants, "policy": _changed_policies}
_WANTED = {
    "add": "Site, with its SiteGrant",
    "grant": "SiteGrant",
    "policy": "PlacementPolicy or ClusterPlacementPolicy",
}
_USED = {
    "add": {"Site", "SiteGrant"},
    "grant": {"SiteGrant"},
    "policy": {"PlacementPolicy", "ClusterPlacementPolicy"},
}
