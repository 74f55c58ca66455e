"""Conversion factors between units.

The code uses one unit per quantity; these factors convert what people write and read.
"""

SECONDS_PER_HOUR = 3600
WATTS_PER_KILOWATT = 1000
GRAMS_PER_KILOGRAM = 1000
