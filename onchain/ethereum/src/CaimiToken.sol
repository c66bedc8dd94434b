// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {ERC20} from "@openzeppelin/contracts/token/ERC20/ERC20.sol";
import {ERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/ERC20Permit.sol";

/// @title Token of test networks
/// @notice ERC-20 with EIP-2612; its issuer makes as much as it likes.
contract CaimiToken is ERC20, ERC20Permit {
    /// @notice Who may mint.
    address public immutable issuer;

    /// @notice Only the issuer mints.
    error NotIssuer(address expected, address actual);

    /// @param issuer_ who may mint
    constructor(address issuer_) ERC20("CAIMI test token", "CAIMI") ERC20Permit("CAIMI test token") {
        issuer = issuer_;
    }

    /// @notice Make tokens.
    /// @param account who receives them
    /// @param amount in the smallest unit
    function mint(address account, uint256 amount) external {
        require(msg.sender == issuer, NotIssuer(issuer, msg.sender));
        _mint(account, amount);
    }
}
