"""What the commands share that show how workloads are at their sites.

Knows `support`. Start with `site_answers.py`: how sites are asked, and what is missing of answers.
"""
