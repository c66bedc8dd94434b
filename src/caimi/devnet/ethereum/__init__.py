"""The devnet's Ethereum: one Anvil under Osaka rules."""
