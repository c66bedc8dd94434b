// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Strings} from "@openzeppelin/contracts/utils/Strings.sol";
import {CaimiWire} from "./CaimiWire.sol";
import {BadQuorum, BadValidatorSet, OutOfRange, ZeroAmount} from "./Errors.sol";
import {Genesis} from "./Records.sol";

/// @notice What is fixed when a registry is created; both of its contracts keep it in their code.
/// @param chain keccak256 of the chain's CAIP-2 id
/// @param registry the registry's address, left-padded
struct Site {
    bytes32 network;
    bytes32 chain;
    bytes32 registry;
    uint256 chainId;
    uint128 minDeposit;
    uint64 clockWindow;
    address token;
}

/// @title Creating a registry: what is refused, and what is fixed (spec 30 §3)
/// @notice Runs in constructors only.
library Creation {
    uint256 private constant MAX_VALIDATORS = 64;

    /// @notice The site of the contract that is being created.
    function site(Genesis memory genesis, uint128 minDeposit, uint64 clockWindow, address token)
        internal
        view
        returns (Site memory)
    {
        require(minDeposit > 0, ZeroAmount());
        // Twice the window is added to the clock, which has to stay inside 64 bits.
        require(clockWindow <= type(uint32).max, OutOfRange(32, clockWindow));
        _checkQuorum(genesis.validators.length, genesis.f, genesis.t);
        _checkDistinct(genesis.validators);
        require(genesis.operators.length >= 1, BadValidatorSet());
        _checkDistinct(genesis.operators);
        return Site({
            network: CaimiWire.networkId(genesis),
            chain: presentChain(),
            registry: bytes32(uint256(uint160(address(this)))),
            chainId: block.chainid,
            minDeposit: minDeposit,
            clockWindow: clockWindow,
            token: token
        });
    }

    /// @notice keccak256 of the CAIP-2 id of the chain that this runs on.
    function presentChain() internal view returns (bytes32) {
        return keccak256(bytes(string.concat("eip155:", Strings.toString(block.chainid))));
    }

    function _checkQuorum(uint256 n, uint256 f, uint256 t) private pure {
        bool lawful = n <= MAX_VALIDATORS && f >= 1 && n >= 3 * f + 1 && t >= f + 1 && t <= n - f;
        require(lawful, BadQuorum(n, f, t));
    }

    function _checkDistinct(address[] memory accounts) private pure {
        for (uint256 i = 0; i < accounts.length; i++) {
            require(accounts[i] != address(0), BadValidatorSet());
            for (uint256 j = 0; j < i; j++) {
                require(accounts[i] != accounts[j], BadValidatorSet());
            }
        }
    }
}
