// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CaimiWire} from "./CaimiWire.sol";
import {BadQuorum, BadValidatorSet, OutOfRange, ZeroAmount} from "./Errors.sol";
import {Genesis, Lane} from "./Records.sol";

/// @notice What is fixed when a registry is created; both of its contracts keep it in their code.
/// @param chain keccak256 of the chain's CAIP-2 id
/// @param registry the registry's address, left-padded
/// @param root registry whose word governs lanes
struct Site {
    bytes32 network;
    bytes32 chain;
    bytes32 registry;
    uint256 chainId;
    uint128 minDeposit;
    uint64 clockWindow;
    address token;
    uint64 resumeDelay;
    uint128 withdrawalCap;
    Lane root;
}

/// @notice What bounds a registry, fixed at its creation.
/// @param minDeposit smallest deposit of a publication, in the token's smallest unit; at least 1
/// @param clockWindow seconds by which this chain's clock may be off; below 2^32
/// @param resumeDelay seconds from a pause to the earliest resumption; below 2^32
/// @param withdrawalCap of all withdrawals of an epoch together; 0 for none
struct Limits {
    uint128 minDeposit;
    uint64 clockWindow;
    uint64 resumeDelay;
    uint128 withdrawalCap;
}

/// @title Creating a registry: what is refused, and what is fixed (spec 30 §3)
/// @notice Runs in constructors only.
library Creation {
    uint256 private constant MAX_VALIDATORS = 64;

    /// @notice The site of the contract that is being created.
    function site(Genesis memory genesis, Limits memory limits, address token, Lane memory root)
        internal
        view
        returns (Site memory)
    {
        require(limits.minDeposit > 0, ZeroAmount());
        // Both are added to the clock, which has to stay inside 64 bits.
        require(limits.clockWindow <= type(uint32).max, OutOfRange(32, limits.clockWindow));
        require(limits.resumeDelay <= type(uint32).max, OutOfRange(32, limits.resumeDelay));
        checkSet(genesis.validators, genesis.f, genesis.t);
        require(genesis.operators.length >= 1, BadValidatorSet());
        _checkDistinct(genesis.operators);
        bytes32 here = bytes32(uint256(uint160(address(this))));
        if (root.chain == 0 && root.registry == 0) root = Lane({chain: presentChain(), registry: here});
        return Site({
            network: CaimiWire.networkId(genesis),
            chain: presentChain(),
            registry: here,
            chainId: block.chainid,
            minDeposit: limits.minDeposit,
            clockWindow: limits.clockWindow,
            token: token,
            resumeDelay: limits.resumeDelay,
            withdrawalCap: limits.withdrawalCap,
            root: root
        });
    }

    /// @notice keccak256 of the CAIP-2 id of the chain that this runs on.
    function presentChain() internal view returns (bytes32) {
        bytes memory id;
        for (uint256 rest = block.chainid; id.length == 0 || rest != 0; rest /= 10) {
            id = bytes.concat(bytes1(uint8(48 + rest % 10)), id);
        }
        return keccak256(bytes.concat("eip155:", id));
    }

    /// @notice Refuse a validator set outside the bounds of spec 00 §4.
    function checkSet(address[] memory validators, uint256 f, uint256 t) internal pure {
        _checkQuorum(validators.length, f, t);
        _checkDistinct(validators);
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
