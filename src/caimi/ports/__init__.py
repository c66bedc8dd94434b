"""Protocols between the services and the world."""
