"""The hub in memory.

`objects` keeps the objects, `hub` adds what a chaos run does to them, and `access` is one
scheduler's way to them.
"""
