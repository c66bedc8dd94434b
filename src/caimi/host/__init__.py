"""The host: opens models under a lease and answers requests of any registry (spec 60). UNATTESTED."""
