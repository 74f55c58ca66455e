"""What a decision is asked about a rollout, and the pods that a change runs beside the old ones.

Start with `question.py`.
"""
