"""Forecasts made here, from nothing but the past of the same zone, site or queue; pure.

A forecaster is one file with a class that keeps to `Forecaster`. It knows nothing of the rest of
Kapok. Start with `hourly.py`.
"""
