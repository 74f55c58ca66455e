"""Energy and carbon: marginal power, tariffs, and forecasts of carbon intensity. Pure.

Knows only `model`; decisions read it through `placement.cost`.
Start with `power.py`, then `forecast.py`, which says when a piece of work emits least. What was
used and emitted is in `accounts/`, what a kWh emits in `factors/`.
"""
