"""Structural schemas and CEL rules of CustomResourceDefinitions: defaults, pruning, validation.

Knows nothing else of ours; the API server and the checks of files use the same code.
Start with `structural.py`.
"""
