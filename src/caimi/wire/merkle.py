"""Merkle tree over a run: ordered, the odd node promoted, leaf and node domains apart (spec 20 §2)."""

from __future__ import annotations

from collections.abc import Sequence

from caimi.types.errors import EmptyRun, ItemOutOfRun, ProofTooLong, ProofTooShort
from caimi.types.primitives import Bytes32
from caimi.wire.keccak import keccak256

__all__ = ["merkle_multiproof", "merkle_paths", "merkle_root", "multiproof_root", "node_hash"]


def node_hash(left: Bytes32, right: Bytes32) -> Bytes32:
    """keccak256(0x01 || left || right)."""
    return keccak256(b"\x01" + left + right)


def merkle_root(leaves: Sequence[Bytes32]) -> Bytes32:
    """Root over all leaves, in order.

    Raises:
        EmptyRun: There is no leaf.
    """
    if not leaves:
        raise EmptyRun
    level = list(leaves)
    while len(level) > 1:
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
    return level[0]


def merkle_multiproof(leaves: Sequence[Bytes32], indices: Sequence[int]) -> tuple[Bytes32, ...]:
    """The nodes that `multiproof_root` needs for the leaves at `indices` (ascending, distinct)."""
    proof: list[Bytes32] = []
    level, wanted = list(leaves), list(indices)
    while len(level) > 1:
        have = set(wanted)
        proof += [level[i ^ 1] for i in wanted if i ^ 1 not in have and i ^ 1 < len(level)]
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level = paired + level[len(paired) * 2 :]
        wanted = sorted({i // 2 for i in wanted})
    return tuple(proof)


def merkle_paths(leaves: Sequence[Bytes32]) -> tuple[tuple[Bytes32, ...], ...]:
    """For each leaf what `merkle_multiproof` gives for it alone; the tree is made once."""
    paths: list[list[Bytes32]] = [[] for _ in leaves]
    level, depth = list(leaves), 0
    while len(level) > 1:
        for index, path in enumerate(paths):
            sibling = (index >> depth) ^ 1
            if sibling < len(level):
                path.append(level[sibling])
        paired = [node_hash(level[i], level[i + 1]) for i in range(0, len(level) - 1, 2)]
        level, depth = paired + level[len(paired) * 2 :], depth + 1
    return tuple(tuple(path) for path in paths)


def multiproof_root(width: int, indices: Sequence[int], leaves: Sequence[Bytes32], proof: Sequence[Bytes32]) -> Bytes32:
    """Root of a tree of `width` leaves, of which those at `indices` are given; the proof is used up exactly.

    Raises:
        EmptyRun: No leaf is given.
        ItemOutOfRun: The indices are not ascending below `width`.
        ProofTooShort, ProofTooLong: Nodes are missing or left over.
    """
    if not leaves or len(leaves) != len(indices):
        raise EmptyRun
    for before, index in zip([-1, *indices], indices, strict=False):
        if not before < index < width:
            raise ItemOutOfRun(index)
    level = list(zip(indices, leaves, strict=True))
    used = 0
    while width > 1:
        above: list[tuple[int, Bytes32]] = []
        i = 0
        while i < len(level):
            index, node = level[i]
            if index ^ 1 >= width:
                i += 1
            elif index % 2 == 0 and i + 1 < len(level) and level[i + 1][0] == index + 1:
                node = node_hash(node, level[i + 1][1])
                i += 2
            else:
                if used == len(proof):
                    raise ProofTooShort
                node = node_hash(node, proof[used]) if index % 2 == 0 else node_hash(proof[used], node)
                used += 1
                i += 1
            above.append((index // 2, node))
        level, width = above, (width + 1) // 2
    if used != len(proof):
        raise ProofTooLong
    return level[0][1]
