// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BadSignature, HighS, Refusals} from "./Errors.sol";

/// @title secp256k1 signatures (spec 00 §2)
/// @notice Not OpenZeppelin's ECDSA: which refusal comes first is part of the protocol.
library Signatures {
    uint256 private constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;

    /// @notice The account that signed `digest`: 65 bytes r ‖ s ‖ v.
    function recover(bytes32 digest, bytes calldata signature) internal pure returns (address) {
        (address signer, uint16 code) = tryRecover(digest, signature);
        return _checked(signer, code);
    }

    /// @notice The account that signed `digest`, or the code of what is wrong with the signature.
    function tryRecover(bytes32 digest, bytes calldata signature) internal pure returns (address signer, uint16 code) {
        if (signature.length != 65) return (address(0), Refusals.BAD_SIGNATURE);
        uint8 v;
        bytes32 r;
        bytes32 s;
        assembly ("memory-safe") {
            r := calldataload(signature.offset)
            s := calldataload(add(signature.offset, 0x20))
            v := byte(0, calldataload(add(signature.offset, 0x40)))
        }
        return _tryRecover(digest, v, r, s);
    }

    /// @notice The account that signed `digest`.
    /// @param v 27 or 28
    /// @param s at most half the order of the group
    function recover(bytes32 digest, uint8 v, bytes32 r, bytes32 s) internal pure returns (address) {
        (address signer, uint16 code) = _tryRecover(digest, v, r, s);
        return _checked(signer, code);
    }

    function _tryRecover(bytes32 digest, uint8 v, bytes32 r, bytes32 s)
        private
        pure
        returns (address signer, uint16 code)
    {
        if (v != 27 && v != 28) return (address(0), Refusals.BAD_SIGNATURE);
        if (uint256(s) > HALF_ORDER) return (address(0), Refusals.HIGH_S);
        signer = ecrecover(digest, v, r, s);
        if (signer == address(0)) code = Refusals.BAD_SIGNATURE;
    }

    function _checked(address signer, uint16 code) private pure returns (address) {
        require(code != Refusals.HIGH_S, HighS());
        require(code == 0, BadSignature());
        return signer;
    }
}
