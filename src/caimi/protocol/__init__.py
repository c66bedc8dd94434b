"""Pure state machines of the protocol (spec 20, 30)."""
