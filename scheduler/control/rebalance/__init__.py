"""Moves running work to save cost, within the budget of its policy.

Start with `loop.py`.
"""
