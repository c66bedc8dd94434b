// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CaimiWire} from "./CaimiWire.sol";
import {Checkpoint, Item, Signature} from "./Records.sol";
import {
    DuplicateSigner,
    EmptyRun,
    ItemOutOfRun,
    RunTooLong,
    TooFewSignatures,
    UnknownSigner,
    UnsortedSigners,
    WrongRoot,
    WrongSigner,
    ZeroRoot
} from "./Errors.sol";
import {Merkle} from "./Merkle.sol";
import {Signatures} from "./Signatures.sol";

/// @title Certificates and the runs they certify (spec 20 §3)
/// @notice The seam at which another signature scheme would stand beside this one.
library Certificates {
    /// @notice Longest range a certificate may cover.
    uint256 internal constant MAX_RUN = 1024;

    /// @notice Check that at least `needed` members of the set signed a digest.
    /// @param signatures ascending by signer; more than needed are checked too
    /// @param validators the set, in signer order
    function verifySigners(
        Signature[] calldata signatures,
        bytes32 digest,
        address[] storage validators,
        uint256 needed
    ) internal view {
        require(signatures.length >= needed, TooFewSignatures(needed, signatures.length));
        uint256 size = validators.length;
        uint256 next = 0;
        for (uint256 i = 0; i < signatures.length; i++) {
            Signature calldata one = signatures[i];
            uint256 signer = one.signer;
            require(signer < size, UnknownSigner(signer));
            require(signer + 1 != next, DuplicateSigner(signer));
            require(signer >= next, UnsortedSigners(signer));
            address actual = Signatures.recover(digest, one.v, one.r, one.s);
            require(actual == validators[signer], WrongSigner(validators[signer], actual));
            next = signer + 1;
        }
    }

    /// @notice Check that `items` are events of the certified range.
    function checkRun(Checkpoint calldata checkpoint, Item[] calldata items, bytes32[] calldata proof) internal pure {
        uint256 first = checkpoint.firstSequence;
        uint256 last = checkpoint.lastSequence;
        require(checkpoint.root != 0, ZeroRoot());
        require(first >= 1 && last >= first && items.length != 0, EmptyRun());
        uint256 width = last - first + 1;
        require(width <= MAX_RUN, RunTooLong(MAX_RUN, width));
        uint256 next = first;
        for (uint256 i = 0; i < items.length; i++) {
            uint256 sequence = items[i].sequence;
            require(next <= sequence && sequence <= last, ItemOutOfRun(uint64(sequence)));
            next = sequence + 1;
        }
        uint256[] memory indices = new uint256[](items.length);
        bytes32[] memory leaves = new bytes32[](items.length);
        for (uint256 i = 0; i < items.length; i++) {
            indices[i] = items[i].sequence - first;
            leaves[i] = CaimiWire.leafHash(checkpoint.source, items[i]);
        }
        bytes32 root = Merkle.multiproofRoot(width, indices, leaves, proof);
        require(root == checkpoint.root, WrongRoot(checkpoint.root, root));
    }
}
