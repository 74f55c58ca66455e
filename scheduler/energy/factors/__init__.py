"""What a kWh emits: factors with year, origin and boundary. Start with `factor.py`. Pure."""
