"""The modules of both programs as tests of the tree read them: each is parsed and walked once."""

import ast
from collections import defaultdict
from functools import cache
from pathlib import Path
from typing import TypeVar

NodeT = TypeVar("NodeT", bound=ast.AST)
ROOT = Path(__file__).resolve().parents[2]
CODE = sorted(
    path
    for top in ("scheduler", "agents")
    for path in (ROOT / top).rglob("*.py")
    if "_shipped" not in path.parts
)


@cache
def text_of(path: Path) -> str:
    """What a file holds."""
    return path.read_text(encoding="utf-8")


@cache
def tree_of(path: Path) -> ast.Module:
    """The syntax tree of a file."""
    return ast.parse(text_of(path))


@cache
def nodes_of(path: Path) -> dict[type[ast.AST], list[ast.AST]]:
    """Every node of a file by its type, in the order of `ast.walk`."""
    found: dict[type[ast.AST], list[ast.AST]] = defaultdict(list)
    for node in ast.walk(tree_of(path)):
        found[type(node)].append(node)
    return found


def each(path: Path, kind: type[NodeT]) -> list[NodeT]:
    """The nodes of one type in a file."""
    return [node for node in nodes_of(path).get(kind, ()) if isinstance(node, kind)]
