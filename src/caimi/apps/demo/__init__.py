"""The demonstration: two models published across ledgers, one abort, answers on each chain."""
