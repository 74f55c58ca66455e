"""Asks a question about the future, of files or of the running scheduler, and prints its errors.

The commands whatif, capacity and survive differ in their questions and in what they print.
"""

import argparse
from collections.abc import Callable, Sequence
from typing import Any

from scheduler.cli.asking.file_copy import read_fleet_copy
from scheduler.cli.asking.live_answer import ask_live
from scheduler.cli.asking.progress import ProgressLine
from scheduler.cli.support.arguments import EXIT_NO, EXIT_USAGE
from scheduler.cli.support.hub_access import HubNotFound
from scheduler.cli.support.offline_input import OfflineInputError
from scheduler.cli.support.output import print_error
from scheduler.control.ports.hub import HubError
from scheduler.model.quantities import NotAQuantity
from scheduler.whatif.demands import Progress
from scheduler.whatif.fleet_copy import FleetCopy
from scheduler.whatif.questions import Question
from scheduler.whatif.scenario.changes import ScenarioError

PATH = "/api/v1/whatif"

Answer = dict[str, Any]
AskCopy = Callable[[FleetCopy, Progress], Answer]


def answer_question(
    command: str,
    arguments: argparse.Namespace,
    fleet_files: Sequence[str],
    question: Question,
    ask_copy: AskCopy,
) -> Answer:
    """The answer, with the seconds that it took; progress is shown meanwhile.

    Args:
        command: its name, for the progress.
        arguments: of the command; where the scheduler is, and as of when files are read.
        fleet_files: files of the fleet; empty: the running scheduler is asked.
        question: what the running scheduler is asked.
        ask_copy: answers the same of a copy of the fleet.

    Raises:
        ScenarioError: the question cannot be answered.
        HubError: the scheduler does not answer.
    """
    progress = ProgressLine(command)
    try:
        if fleet_files:
            copy, notes = read_fleet_copy(fleet_files, arguments.now)
            answer = ask_copy(copy, progress.show)
            answer["notes"] += notes
        else:
            if arguments.now is not None:
                raise ScenarioError("--now: the running scheduler answers as of now; leave it out")
            answer = ask_live(arguments, PATH, question, progress.show)
    finally:
        progress.end()
    return {**answer, "seconds": round(progress.seconds, 3)}


def run_question(command: str, answer_and_print: Callable[[], int]) -> int:
    """Runs a command; returns its exit code, also when its question is not answered."""
    try:
        return answer_and_print()
    except (ScenarioError, OfflineInputError, HubNotFound, NotAQuantity) as error:
        print_error(command, error)
        return EXIT_USAGE
    except HubError as error:
        print_error(command, error)
        return EXIT_NO
