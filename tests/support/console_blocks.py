"""What a document asks its reader to do: files to save, and commands to type.

A document is Markdown. Three comments, which readers do not see, stand before a block of code:

- `<!-- file: NAME -->`: the block is saved as NAME.
- `<!-- in the background until: TEXT -->`: the one command goes on running; the next one is typed
  when TEXT stands in its output.
- `<!-- not run: REASON -->`: the commands cannot run here.

And one stands alone: `<!-- stop: COMMAND -->` ends a command in the background, as Ctrl-C does.

A block of the language `console` holds commands after `$ `, and under each what it prints. There,
`…` stands for anything. A command whose output is not yet so is typed again, as a reader would.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

_BLOCK = re.compile(
    r"^<!-- stop: (?P<stop>.+?) -->$|"
    r"(?:^<!-- (?P<mark>file|in the background until|not run): (?P<value>.+?) -->\n\n?)?"
    r"^```(?P<language>\w*)[^\n]*\n(?P<body>.*?)^```$",
    re.MULTILINE | re.DOTALL,
)
_PROMPT = "$ "


@dataclass(frozen=True, slots=True)
class SavedFile:
    """A file that the reader saves."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Command:
    """A command that the reader types.

    Attributes:
        words: what is typed, for a shell.
        output: the lines that it prints, with `…` for anything; empty: not looked at.
        until: it runs in the background, and is there when it has written this; "": it ends.
    """

    words: str
    output: tuple[str, ...] = ()
    until: str = ""


@dataclass(frozen=True, slots=True)
class NotRun:
    """Commands that cannot run in a test, and why."""

    words: tuple[str, ...]
    reason: str


@dataclass(frozen=True, slots=True)
class Stop:
    """The reader presses Ctrl-C where this command runs."""

    words: str


Step = SavedFile | Command | NotRun | Stop


def steps_of(document: Path) -> Iterator[Step]:
    """What the document asks for, in its order.

    Raises:
        ValueError: a background block has not exactly one command.
    """
    yield from steps_in(document.read_text(encoding="utf-8"))


def steps_in(text: str) -> Iterator[Step]:
    """What a part of a document asks for; raises as `steps_of`."""
    for block in _BLOCK.finditer(text):
        mark, value, body = block["mark"], block["value"], block["body"]
        if block["stop"]:
            yield Stop(block["stop"])
        elif mark == "file":
            yield SavedFile(value, body)
        elif block["language"] == "console":
            yield from _steps_of_console(list(_commands(body)), mark, value)


def _steps_of_console(commands: list[Command], mark: str | None, value: str) -> Iterator[Step]:
    if mark == "not run":
        yield NotRun(tuple(one.words for one in commands), value)
    elif mark is None:
        yield from commands
    elif len(commands) == 1:
        yield Command(commands[0].words, until=value)
    else:
        raise ValueError(f"looked for one command to leave in the background, got {commands}")


def _commands(body: str) -> Iterator[Command]:
    for part in re.split(rf"^{re.escape(_PROMPT)}", body, flags=re.MULTILINE)[1:]:
        typed, *printed = part.splitlines()
        while typed.endswith("\\") and printed:
            typed = f"{typed}\n{printed.pop(0)}"
        yield Command(typed, tuple(line for line in printed if line.strip()))


def prints(command: Command, text: str) -> bool:
    """Whether the lines of the document stand in the text, in their order; spaces count once."""
    lines = iter(" ".join(line.split()) for line in text.splitlines())
    patterns = (_pattern(" ".join(line.split())) for line in command.output)
    return all(any(one.fullmatch(line) for line in lines) for one in patterns)


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part) for part in line.split("…")))
