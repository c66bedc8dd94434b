"""Wiring a devnet: one state folder with two real ledgers, a content store, validators, a relay and a host."""
