"""Where facts come from: one file per source of facts.

Knows `member`, `config` and `protocol`. A sensor leaves out what it does not know and never
estimates silently: the origin travels with the figure. Of two sensors that know the same thing the
first in the list of `wiring.py` counts. Start with `sensor.py`.
"""
