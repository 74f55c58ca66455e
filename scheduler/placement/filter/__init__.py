"""Step 1, filter: which sites may run a workload at all, and what may stay where it runs.

Knows `fleet`. Every hard rule is one file in `constraints/`; they do not know each other.
Start with `rules.py` (what a rule is) and `fix.py` (the change that a rule asks for), then
`filter.py` (all rules over the whole fleet at once).
"""
