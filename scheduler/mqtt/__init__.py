"""The broker: our session with it, the wire's translation, and the embedded one."""
