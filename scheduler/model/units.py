"""How many of one unit make another, where two of them meet.

Inside there is one unit per quantity; these are for what people write and read.
"""

SECONDS_PER_HOUR = 3600
WATTS_PER_KILOWATT = 1000
GRAMS_PER_KILOGRAM = 1000
