"""Sealed content: what only one site can read, over a broker and with a disk that others may read.

Start with `box.py`: keys, and how a content is sealed and opened.
"""
