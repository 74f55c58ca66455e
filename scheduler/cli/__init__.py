"""The commands that people type: one module per command, imported only when it is called.

Each module offers `register(parser)`, which adds its arguments, and `run(arguments) -> int`, which
returns the exit code: 0 good, 1 the answer is no, 2 the call was wrong.
"""
