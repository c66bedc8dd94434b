// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {IToken} from "./IRegistry.sol";

/// @title What an account signs to let a registry take tokens (EIP-2612)
library Permits {
    bytes32 private constant TYPE =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    /// @notice Digest of a permit with the account's next nonce.
    function digest(IToken token, address owner, address spender, uint256 value, uint256 deadline)
        internal
        view
        returns (bytes32)
    {
        bytes32 structHash = keccak256(abi.encode(TYPE, owner, spender, value, token.nonces(owner), deadline));
        return keccak256(abi.encodePacked(hex"1901", token.DOMAIN_SEPARATOR(), structHash));
    }
}
