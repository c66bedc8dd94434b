"""Certificates and keys of all organisations, made by cryptogen: fit for a devnet on one machine only."""

from __future__ import annotations

from collections.abc import Sequence

from caimi.devnet.fabric.network import HOST, OrdererNode, PeerNode

__all__ = ["cryptogen_config"]


def cryptogen_config(
    orderers: Sequence[OrdererNode], peers: Sequence[PeerNode], *, clients_per_organisation: int
) -> dict[str, object]:
    """cryptogen's input: one organisation for every orderer and every peer, valid on the loopback."""
    names = ["localhost", HOST]
    return {
        "OrdererOrgs": [
            {
                "Name": orderer.name,
                "Domain": orderer.domain,
                "EnableNodeOUs": True,
                "Specs": [{"Hostname": "node", "SANS": names}],
            }
            for orderer in orderers
        ],
        "PeerOrgs": [
            {
                "Name": peer.msp_id.removesuffix("MSP"),
                "Domain": peer.domain,
                "EnableNodeOUs": True,
                "Specs": [{"Hostname": "peer", "SANS": names}],
                "Users": {"Count": clients_per_organisation},
            }
            for peer in peers
        ],
    }
