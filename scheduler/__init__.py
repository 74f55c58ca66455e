"""Kapok: decides where and when each workload of a city runs, within the law, and says why.

Data flows one way: report, fleet, decision, order, status. `model` (the vocabulary), `placement`
and `energy` (the decision) are pure; `control` holds the loops; `hub`, `mqtt`, `ledger` and `web`
connect them to the world; `cli` has the commands.
Start with `app.py`, which puts everything together, or `placement/choose.py`, the decision.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("kapok-scheduler")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
