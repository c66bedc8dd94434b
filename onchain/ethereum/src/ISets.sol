// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @title What the registry asks of `CaimiEpochs` itself; nobody else reaches it
interface ISets {
    /// @notice Apply one event about validator sets.
    /// @param source lane key of the registry that emitted it
    /// @param certified epoch of the set that certified the run
    /// @return packed disposition, NONE if it is passed over (spec 42 §3), and above its 8 bits the code of a refusal
    function applySet(bytes32 source, uint64 certified, uint16 kind, bytes32 subject, bytes calldata body)
        external
        returns (uint256 packed);
}
