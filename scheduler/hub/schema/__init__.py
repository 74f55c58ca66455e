"""Structural schemas and CEL rules of CustomResourceDefinitions: defaults, pruning, validation.

Knows no other package of ours. The API server and the commands that check files share it.
Start with `structural.py`.
"""
