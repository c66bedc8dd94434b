"""Threshold keys, capsules, quorum signatures (spec 20, 40)."""
