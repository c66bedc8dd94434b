"""Ethereum: JSON-RPC client, transaction signer, registry adapter, deployment."""
