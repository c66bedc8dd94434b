"""Models of ledgers for tests and the simulator: same ports, same conformance suite, virtual time, no I/O."""
