"""The hard rules, one file each.

Each knows `fleet` and the modules of `filter`, and no other rule. A new rule is a new file with one
`RULE`; `filter.rules` finds it.
Start with `cordoned.py`, the shortest; CONTRIBUTING.md has the checklist.
"""
