"""Answers about a running scheduler and its ledger, as JSON: why, what happened, what it costs.

Commands and the page ask the same functions. Start with `answers.py`; `explanation.py` is what
`kapok explain` prints. Nothing here changes the state, and what takes long runs on threads.
"""
