"""Answers questions of the hub about one order: how its pods are, and what they have logged.

Knows `mqtt`, `orders`, `member` and `protocol`. Start with `answerer.py`: which questions count.
"""
