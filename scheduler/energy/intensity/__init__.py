"""Sources of carbon intensity, one file each, and the series that they fill. Pure.

Start with `series.py`: what counts for an hour, and what stands in where a feed is silent. To add a
source, write one file that turns its answer into a `ParsedSeries`.
"""
