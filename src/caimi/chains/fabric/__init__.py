"""Hyperledger Fabric: client of the Gateway and Deliver services, channel administration, registry adapter."""
