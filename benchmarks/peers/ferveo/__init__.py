"""ferveo out of nucypher-core (GPL-3.0), measured beside ours in an environment of its own and part of nothing."""
