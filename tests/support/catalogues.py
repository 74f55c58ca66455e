"""Writes the messages of the English catalogue from the code, and lists what Chinese lacks.

`python -m tests.support.catalogues` (`make catalogues`).
"""

import ast
import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from scheduler.words.catalogue import catalogue_text
from scheduler.words.languages import Language

ROOT = Path(__file__).parents[2]


@cache
def declared_messages() -> dict[str, str]:
    """Every `Message` in the code: its template by its slug.

    Raises:
        AssertionError: two have one slug and other words.
    """
    found: dict[str, str] = {}
    for slug, template, path in _iter_declared():
        assert found.setdefault(slug, template) == template, f"{slug}: twice, again in {path}"
    return dict(sorted(found.items()))


def _iter_declared() -> Iterator[tuple[str, str, Path]]:
    for path in sorted((ROOT / "scheduler").rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        if "Message(" not in text:
            continue
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "Message":
                slug, template = (ast.literal_eval(each) for each in node.args)
                yield slug, template, path


def read(language: Language) -> dict[str, Any]:
    """A catalogue as it is in its file."""
    content: dict[str, Any] = json.loads(catalogue_text(language))
    return content


def main() -> None:
    """Writes `en.json`, and prints the slugs that `zh.json` lacks or has too many."""
    messages = declared_messages()
    english = read("en") | {"messages": messages}
    path = ROOT / "scheduler" / "words" / "en.json"
    path.write_text(json.dumps(english, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    for slug in sorted(messages.keys() ^ read("zh")["messages"].keys()):
        print(slug, messages.get(slug, "(no longer said)"))  # noqa: T201 - a command's answer


if __name__ == "__main__":
    main()
