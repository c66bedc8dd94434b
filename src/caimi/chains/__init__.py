"""Adapters to real ledgers; they know the ports and never each other."""
