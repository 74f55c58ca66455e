"""Linear and integer programs: HiGHS behind two small forms, and prices by dual ascent.

Knows nothing of sites and workloads, only numbers.
Start with `highs.py`.
"""
