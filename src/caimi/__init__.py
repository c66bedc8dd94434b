"""CAIMI: cross-chain AI model interoperability."""
