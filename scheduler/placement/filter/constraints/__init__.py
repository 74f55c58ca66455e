"""The hard rules, one file each. A new rule is a new file with one `RULE`; `rules.py` finds it."""
