"""A faithful relay of hash time-locked contracts, on the same ledgers as CAIMI: our own peer, for benchmarks only."""
