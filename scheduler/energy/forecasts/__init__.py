"""Forecasts made here, from nothing but the past of the same zone, site or queue; pure.

A forecaster is one file with a class that keeps to `Forecaster`. Knows only NumPy.
Start with `hourly.py`; `backtest.py` says how good a forecaster was.
"""
