"""Process entry points: the only place where services, ports and adapters are put together."""
