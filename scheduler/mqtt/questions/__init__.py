"""Questions to sites about one order, from the sending to the answer.

Knows the wire and the port of diagnosis. Start with `site_questions.py`: who may answer.
"""
