"""The peers: programs and contracts that are measured beside CAIMI."""
