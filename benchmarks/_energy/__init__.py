"""Experiments of the benchmark `energy`, one file each."""
