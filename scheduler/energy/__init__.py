"""Energy and carbon, pure: marginal watts, what they cost and emit, and where figures come from."""
