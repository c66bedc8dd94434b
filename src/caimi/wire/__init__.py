"""Canonical bytes, domain tags and digests (spec 10)."""
