"""`python -m benchmarks NAME|all --json`: measures, and names machine and commit.

A benchmark is a module of this package with `add_arguments(parser)` and `rows(arguments)`, which
returns one row of figures per case. benchmarks/README.md describes each benchmark.
"""

import argparse
import importlib
import json
import os
import pkgutil
import platform
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import benchmarks
from scheduler.placement.kernel import loader as compiled

_HERE = Path(__file__).resolve().parent
EXIT_GOOD, EXIT_USAGE = 0, 2

_EPILOG = """examples:
  python -m benchmarks decide --json
  python -m benchmarks simulate --json --data ../shared/data
  python -m benchmarks all --json --seed 1

The last line of stdout is one JSON object per benchmark:
{"benchmark", "rows": [{...}], "machine", "commit"}; `all` prints one such line for each.
python -m benchmarks NAME --help lists a benchmark's own arguments."""


def names() -> list[str]:
    """The names of all benchmarks."""
    modules = (module.name for module in pkgutil.iter_modules(benchmarks.__path__))
    return sorted(name for name in modules if not name.startswith("_"))


def main(words: Sequence[str] | None = None) -> int:
    """Runs one benchmark, or all.

    Args:
        words: the arguments after the command; None takes those of the process.

    Returns:
        0, or 2 if the benchmark does not exist or its data is missing.
    """
    given = list(sys.argv[1:] if words is None else words)
    known = names()
    chosen = next((word for word in given if word in (*known, "all")), None)
    if chosen is None:
        parser = _overview(known)
        parser.parse_args(given)  # prints --help, or an error about a wrong benchmark
        return EXIT_USAGE
    if chosen == "all":
        return _all(known, given)
    given.remove(chosen)
    return _one(chosen, given)


def _all(known: Sequence[str], words: Sequence[str]) -> int:
    """Runs each benchmark in its own process, so that memory is measured separately."""
    _overview(known).parse_args(words)  # only the common arguments apply to all
    common = [word for word in words if word != "all"]
    command = [sys.executable, "-m", "benchmarks"]
    return max(
        subprocess.run([*command, name, *common], check=False).returncode  # noqa: S603 - ourselves
        for name in known
    )


def _one(name: str, words: Sequence[str]) -> int:
    module = importlib.import_module(f"benchmarks.{name}")
    arguments = _parser(name, module).parse_args(words)
    try:
        rows: list[dict[str, object]] = module.rows(arguments)
    except (FileNotFoundError, ValueError) as error:
        sys.stderr.write(f"benchmarks {name}: {error}\n")
        return EXIT_USAGE
    if not arguments.json:
        sys.stdout.write(_table(rows))
        return EXIT_GOOD
    answer = {"benchmark": name, "rows": rows, "machine": machine(), "commit": commit()}
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()
    return EXIT_GOOD


def _parser(name: str, module: ModuleType) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=f"python -m benchmarks {name}",
        description=module.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object on the last line"
    )
    parser.add_argument(
        "--data",
        type=Path,
        default=_data_folder(),
        metavar="DIR",
        help="folder of public data sets (default: $KAPOK_DATA_DIR)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, metavar="N", help="seed (default: %(default)s)"
    )
    module.add_arguments(parser)
    return parser


def _data_folder() -> Path | None:
    folder = os.environ.get("KAPOK_DATA_DIR")
    return Path(folder) if folder else None


def _overview(known: Sequence[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description=f"Benchmarks: {', '.join(known)}; all runs every one.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("name", metavar="NAME|all", choices=[*known, "all"])
    parser.add_argument(
        "--json", action="store_true", help="print one JSON object on the last line"
    )
    parser.add_argument(
        "--data", metavar="DIR", help="folder of public data sets (default: $KAPOK_DATA_DIR)"
    )
    parser.add_argument("--seed", type=int, metavar="N", help="seed (default: 0)")
    return parser


def machine() -> dict[str, Any]:
    """The machine on which the figures were measured."""
    return {
        "cpu": _cpu_model(),
        "cores": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "decisions": compiled.MODE,
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.machine()


def commit() -> str | None:
    """The commit of this source tree, with `-dirty` after edits; None: not a git checkout."""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],  # noqa: S607 - git from PATH
            cwd=_HERE,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:
        return None
    return described.stdout.strip() or None


def _table(rows: list[dict[str, object]]) -> str:
    columns = list(dict.fromkeys(key for row in rows for key in row))
    cells = [columns, *([_cell(row.get(column)) for column in columns] for row in rows)]
    widths = [max(len(line[index]) for line in cells) for index in range(len(columns))]
    return "".join(
        "  ".join(text.rjust(width) for text, width in zip(line, widths, strict=True)) + "\n"
        for line in cells
    )


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)


if __name__ == "__main__":
    sys.exit(main())
