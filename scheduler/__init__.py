"""Kapok: decides where and when each workload of a city runs, within the law, and can say why.

Data flows one way: report → fleet → decision → order → status. The folders are that flow's rooms:
`model` (the vocabulary) and `placement`, `energy` (the decision) are pure; `control` holds the
loops; `hub`, `mqtt`, `ledger`, `web` are the doors to the world; `app` puts them together, `cli` is
what people type.
"""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("kapok-scheduler")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0+unknown"
