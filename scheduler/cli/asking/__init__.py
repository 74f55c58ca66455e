"""What `kapok whatif` and `kapok capacity` share: words and files of a scenario, and where to ask.

A scenario or a shape is asked of the running scheduler, which answers from a copy of its own state,
or here, of exported files. Start with `scenario_words.py`.
"""
