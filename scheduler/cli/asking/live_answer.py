"""Asks the running scheduler, which answers from a copy of its own state."""

import argparse
import asyncio
from collections.abc import Callable, Iterator
from http import HTTPStatus
from typing import Any

import msgspec

from scheduler.cli.support.hub_access import find_kubeconfig
from scheduler.cli.support.web_access import WebUnavailable, connect_web
from scheduler.whatif.scenario.changes import ScenarioError

_SILENCE_SECONDS = 60.0
"""The server says at least every few seconds how far it is."""

Progress = Callable[[str, int, int], None]


def ask_live(
    arguments: argparse.Namespace, path: str, question: object, progress: Progress
) -> dict[str, Any]:
    """The answer of the running scheduler.

    Args:
        arguments: with --kubeconfig, --data-dir and --server.
        path: where to ask.
        question: encoded as JSON.
        progress: shows how far the answer is.

    Raises:
        HubNotFound: there is no kubeconfig.
        HubError: the scheduler is not reached, is busy, or has failed.
        ScenarioError: the scheduler says that the question makes no sense.
    """
    kubeconfig = find_kubeconfig(arguments.kubeconfig, arguments.data_dir)
    web = asyncio.run(connect_web(kubeconfig, arguments.server))
    lines = web.post_lines(path, msgspec.json.encode(question), timeout=_SILENCE_SECONDS)
    try:
        return _read_answer(lines, progress)
    except WebUnavailable as error:
        if error.code == HTTPStatus.BAD_REQUEST:
            raise ScenarioError(str(error)) from error
        raise


def _read_answer(lines: Iterator[Any], progress: Progress) -> dict[str, Any]:
    """The answer. The stream ends when the scheduler is free for the next question."""
    last: dict[str, Any] = {}
    for line in lines:
        if "what" in line:
            progress(line["what"], line["done"], line["total"])
        else:
            last = line
    if "refused" in last:
        raise ScenarioError(last["refused"])
    if "answer" not in last:
        text = last.get("failed", "the scheduler ended before it had answered; ask again")
        raise WebUnavailable(text)
    answer: dict[str, Any] = last["answer"]
    return answer
