"""The devnet: real ledgers and every process of CAIMI on one machine, under one supervisor."""
