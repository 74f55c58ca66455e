"""Feeds of carbon intensity: asked over HTTP or read from files, into series of grid zones.

What the answers mean is in `scheduler.energy.intensity`, one file for each form; here they are
fetched, with bounds. Knows `scheduler.energy` and the clock. Start with `intensity_feeds.py`.
"""
