"""Asks for what `kapok wrap` cannot infer: the class of the data, and the platforms of the images.

On a terminal a person answers; an empty answer leaves the field out. Elsewhere, and where the
manifests themselves come from stdin, nothing is asked, and a notice says what is missing.
"""

import sys
from collections.abc import Callable
from typing import Any

from scheduler.model.kinds.fields import DATA_CLASSES

_CLASS_QUESTION = f"data class of the workload ({', '.join(DATA_CLASSES)}; empty: left out): "
_PLATFORM_QUESTION = "platforms of all its images, by commas (empty: linux/amd64 only): "


def ask_for_missing(
    spec: dict[str, Any],
    *,
    reads_stdin: bool,
    read_answer: Callable[[str], str] | None = None,
) -> list[str]:
    """Completes a spec by answers of a person.

    Args:
        spec: the spec; what is answered is added to it.
        reads_stdin: the manifests came from stdin, where no answer can come from.
        read_answer: puts one question; None: at the terminal, if there is one.

    Returns:
        What is still missing, for people.
    """
    if read_answer is None and not reads_stdin and sys.stdin.isatty() and sys.stderr.isatty():
        read_answer = _read_from_terminal
    if read_answer is not None:
        _ask(spec, read_answer)
    notices = []
    if "dataClass" not in spec:
        notices.append(
            "no data class is given: the scheme of the hub decides, and refuses it if it names "
            "none; give --data-class or the annotation kapok.dev/data-class"
        )
    if "imagePlatforms" not in spec:
        notices.append(
            "no platforms are given: it runs on linux/amd64 alone; give --platform or the "
            "annotation kapok.dev/image-platforms"
        )
    return notices


def _ask(spec: dict[str, Any], read_answer: Callable[[str], str]) -> None:
    while "dataClass" not in spec:
        answer = read_answer(_CLASS_QUESTION).strip()
        if not answer:
            break
        if answer in DATA_CLASSES:
            spec["dataClass"] = answer
    if "imagePlatforms" not in spec:
        answer = read_answer(_PLATFORM_QUESTION)
        if platforms := [each.strip() for each in answer.split(",") if each.strip()]:
            spec["imagePlatforms"] = platforms


def _read_from_terminal(question: str) -> str:
    """Puts a question on stderr: stdout holds the Workload."""
    sys.stderr.write(question)
    sys.stderr.flush()
    return sys.stdin.readline()
