"""The commands of `kapok`: one module per command, imported only when that command runs.

Each module offers `register(parser)`, which adds its arguments, and `run(arguments) -> int`, which
returns the exit code: 0 success, 1 the answer is no, 2 wrong usage. `support` holds what several
commands share. The commands may know every other package. Start with `entry.py`.
"""
