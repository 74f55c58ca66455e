"""Commands that `kapok get` prints to be pasted."""

import argparse

from scheduler.cli import get


def test_the_printed_admission_reaches_the_hub_that_was_asked() -> None:
    parser = argparse.ArgumentParser()
    get.register(parser)
    given = parser.parse_args(["sites", "--pending", "--data-dir", "a city"])
    assert get._hub_flags(given) == " --data-dir 'a city'"  # noqa: SLF001 - what is pasted, without a hub
    assert get._hub_flags(parser.parse_args(["sites"])) == ""  # noqa: SLF001 - as above
