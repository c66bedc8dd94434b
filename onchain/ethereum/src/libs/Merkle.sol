// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ProofTooLong, ProofTooShort} from "./Errors.sol";

/// @title Merkle tree over a run (spec 20 §2) or a batch (spec 37 §1)
/// @notice Ordered, the odd last node moves up unchanged, leaf and node domains apart.
library Merkle {
    /// @notice Root of a tree of `width` leaves, of which `nodes` are those at `indices`.
    /// @dev Overwrites both arrays. The caller has checked that there is at least one leaf, that both arrays are of
    /// one length and that indices ascend below `width`.
    /// @param width number of leaves of the whole tree
    /// @param indices places of the given leaves
    /// @param nodes hashes of the given leaves
    /// @param proof siblings that the given nodes lack, level by level and from left to right; used up exactly
    function multiproofRoot(uint256 width, uint256[] memory indices, bytes32[] memory nodes, bytes32[] calldata proof)
        internal
        pure
        returns (bytes32)
    {
        uint256 count = nodes.length;
        uint256 used = 0;
        while (width > 1) {
            uint256 above = 0;
            for (uint256 i = 0; i < count;) {
                uint256 index = indices[i];
                bytes32 node = nodes[i++];
                if ((index ^ 1) < width) {
                    if ((index & 1) == 0 && i < count && indices[i] == index + 1) {
                        node = nodeHash(node, nodes[i++]);
                    } else {
                        require(used < proof.length, ProofTooShort());
                        bytes32 sibling = proof[used++];
                        node = (index & 1) == 0 ? nodeHash(node, sibling) : nodeHash(sibling, node);
                    }
                }
                indices[above] = index >> 1;
                nodes[above++] = node;
            }
            count = above;
            width = (width + 1) >> 1;
        }
        require(used == proof.length, ProofTooLong());
        return nodes[0];
    }

    /// @notice The same of a single leaf: what `multiproofRoot` gives, without arrays.
    /// @param width number of leaves of the whole tree
    /// @param index place of the leaf, below `width`
    /// @param proof siblings from the leaf upwards; used up exactly
    function pathRoot(uint256 width, uint256 index, bytes32 node, bytes32[] calldata proof)
        internal
        pure
        returns (bytes32)
    {
        uint256 used = 0;
        for (; width > 1; width = (width + 1) >> 1) {
            if ((index ^ 1) < width) {
                require(used < proof.length, ProofTooShort());
                bytes32 sibling = proof[used++];
                node = (index & 1) == 0 ? nodeHash(node, sibling) : nodeHash(sibling, node);
            }
            index >>= 1;
        }
        require(used == proof.length, ProofTooLong());
        return node;
    }

    /// @notice Root of a tree of which all leaves are given, at least one.
    /// @dev Overwrites the array.
    function root(bytes32[] memory nodes) internal pure returns (bytes32 result) {
        // By hand: a batch makes a node for each of its publications.
        assembly ("memory-safe") {
            let first := add(nodes, 0x20)
            for { let width := mload(nodes) } gt(width, 1) {} {
                let to := first
                let from := first
                for { let end := add(first, shl(5, and(width, not(1)))) } lt(from, end) { from := add(from, 0x40) } {
                    mstore8(0x00, 0x01)
                    mcopy(0x01, from, 0x40)
                    mstore(to, keccak256(0x00, 0x41))
                    to := add(to, 0x20)
                }
                if and(width, 1) { mstore(to, mload(from)) }
                width := shr(1, add(width, 1))
            }
            // The last byte lies in the free memory pointer's first byte, which is zero.
            mstore8(0x40, 0x00)
            result := mload(first)
        }
    }

    /// @notice keccak256(0x01 ‖ left ‖ right).
    function nodeHash(bytes32 left, bytes32 right) internal pure returns (bytes32 result) {
        // In scratch space: a run of 1,024 events makes as many of these.
        assembly ("memory-safe") {
            mstore8(0x00, 0x01)
            mstore(0x01, left)
            mstore(0x21, right)
            result := keccak256(0x00, 0x41)
            // The last byte lies in the free memory pointer's first byte, which is zero.
            mstore8(0x40, 0x00)
        }
    }
}
