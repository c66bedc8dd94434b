"""Identifiers, units and the roots of errors."""
