"""The sensors: one module per source of facts about the site.

Knows `member`, `config`, `runtime` and `protocol`.
Start with `sensor.py`: what a sensor returns.

A sensor leaves out what it does not know, and never estimates silently: every figure carries its
origin. Where two sensors know the same fact, the first in the list of `agents/wiring.py` wins. To
add a sensor, write a module here, and add it to that list and to the help text in
`agents/metrics/counters.py`.
"""
