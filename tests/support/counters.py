"""Counters of a running `kapok up`, as a scrape shows them."""

import re
import urllib.request

from tests.support.up import Up

_SAMPLE = re.compile(r"^(\w+)(?:\{(.*)\})? (\S+)$", re.MULTILINE)


def counters(up: Up, name: str) -> dict[str, float]:
    """The samples of one metric that are not 0, by their labels as text."""
    with urllib.request.urlopen(up.ready["metrics"], timeout=60) as answer:  # noqa: S310 - our own
        text = answer.read().decode()
    return {
        labels: float(value)
        for found, labels, value in _SAMPLE.findall(text)
        if found == name and float(value)
    }
