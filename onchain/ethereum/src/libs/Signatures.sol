// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BadSignature, HighS} from "./Errors.sol";

/// @title secp256k1 signatures (spec 00 §2)
/// @notice Not OpenZeppelin's ECDSA: which refusal comes first is part of the protocol.
library Signatures {
    uint256 private constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// @notice The account that signed `digest`: 65 bytes r ‖ s ‖ v.
    function recover(bytes32 digest, bytes calldata signature) internal pure returns (address) {
        require(signature.length == 65, BadSignature());
        return recover(digest, uint8(signature[64]), bytes32(signature[:32]), bytes32(signature[32:64]));
    }

    /// @notice The account that signed `digest`.
    /// @param v 27 or 28
    /// @param s at most half the order of the group
    function recover(bytes32 digest, uint8 v, bytes32 r, bytes32 s) internal pure returns (address signer) {
        require(v == 27 || v == 28, BadSignature());
        require(uint256(s) <= HALF_ORDER, HighS());
        signer = ecrecover(digest, v, r, s);
        require(signer != address(0), BadSignature());
    }
}
