"""The real Fabric network of the devnet: files of its nodes and their processes."""
