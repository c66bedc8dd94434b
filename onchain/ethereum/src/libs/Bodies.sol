// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

/// @notice What a body of GOVERNANCE says.
struct Decision {
    uint8 action;
    bytes32 chain;
    bytes32 registry;
    uint64 version;
    uint64 generation;
    uint64 height;
    bytes32 blockHash;
}

/// @title Bodies of carried events, read by hand (spec 10 §5)
/// @notice abi.decode would revert on malformed bytes and stop the run; these answer `ok` false instead. All values are
/// static, so the canonical encoding is the one with exactly as many words and with every number inside its range.
library Bodies {
    /// @notice LOCKED (role u8, home), REFUSED (code u16, home) or BATCH_ANSWERED (version u16, home).
    /// @param limit largest value of the first field
    function readLock(bytes calldata body, uint256 limit)
        internal
        pure
        returns (bool ok, uint256 first, bytes32 chain, bytes32 registry)
    {
        if (body.length != 96) return (false, 0, 0, 0);
        first = _number(body, 0);
        return (first <= limit, first, _word(body, 1), _word(body, 2));
    }

    /// @notice OUTCOME (state u8, reason u16).
    function readOutcome(bytes calldata body) internal pure returns (bool ok, uint256 state) {
        if (body.length != 64) return (false, 0);
        state = _number(body, 0);
        return (state <= type(uint8).max && _number(body, 1) <= type(uint16).max, state);
    }

    /// @notice SUPERSEDED (by version u64): only whether it is well formed, nobody needs the version here.
    function isSuperseded(bytes calldata body) internal pure returns (bool) {
        return body.length == 32 && _number(body, 0) <= type(uint64).max;
    }

    /// @notice ANSWERED (request, receipt hash, output CID). No registry emits a receipt hash of zero.
    function readAnswered(bytes calldata body) internal pure returns (bool ok, bytes32 request, bytes32 receiptHash) {
        if (body.length != 128) return (false, 0, 0);
        (request, receiptHash) = (_word(body, 0), _word(body, 1));
        ok = receiptHash != 0 && _number(body, 2) <= type(uint8).max;
    }

    /// @notice REVOKED (reason u16, registry that took the publisher's signature).
    function readRevoked(bytes calldata body) internal pure returns (bool ok, bytes32 chain, bytes32 registry) {
        if (body.length != 96) return (false, 0, 0);
        return (_number(body, 0) <= type(uint16).max, _word(body, 1), _word(body, 2));
    }

    /// @notice GOVERNANCE (action u8, lane, version u64, generation u64, height u64, hash of the last block kept). No
    /// registry emits a generation of zero.
    function readGovernance(bytes calldata body) internal pure returns (bool ok, Decision memory d) {
        if (body.length != 224) return (false, d);
        for (uint256 i = 3; i < 6; i++) {
            if (_number(body, i) > type(uint64).max) return (false, d);
        }
        if (_number(body, 0) > type(uint8).max || _number(body, 4) == 0) return (false, d);
        d.action = uint8(_number(body, 0));
        (d.chain, d.registry, d.blockHash) = (_word(body, 1), _word(body, 2), _word(body, 6));
        (d.version, d.generation) = (uint64(_number(body, 3)), uint64(_number(body, 4)));
        d.height = uint64(_number(body, 5));
        return (true, d);
    }

    /// @notice BATCH_OUTCOME (state u8, reason u16, count u16, taken u256).
    function readBatchOutcome(bytes calldata body)
        internal
        pure
        returns (bool ok, uint256 state, uint256 reason, uint256 count, uint256 taken)
    {
        if (body.length != 128) return (false, 0, 0, 0, 0);
        (state, reason, count, taken) = (_number(body, 0), _number(body, 1), _number(body, 2), _number(body, 3));
        ok = state <= type(uint8).max && reason <= type(uint16).max && count <= type(uint16).max;
    }

    function _number(bytes calldata body, uint256 index) private pure returns (uint256) {
        return uint256(_word(body, index));
    }

    // The caller has checked that there are so many words.
    function _word(bytes calldata body, uint256 index) private pure returns (bytes32 word) {
        assembly ("memory-safe") {
            word := calldataload(add(body.offset, shl(5, index)))
        }
    }
}
