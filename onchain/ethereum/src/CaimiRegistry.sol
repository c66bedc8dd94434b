// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Application} from "./Application.sol";
import {Batches} from "./Batches.sol";
import {CaimiExtension} from "./CaimiExtension.sol";
import {Locks} from "./Locks.sol";
import {RegistryStorage} from "./RegistryStorage.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {Creation, Limits, Site} from "./libs/Creation.sol";
import {Genesis, Lane} from "./libs/Records.sol";
import {BadEncoding} from "./libs/Errors.sol";

/// @title A CAIMI registry on an EVM chain (spec 30)
/// @notice Home of some publications and mirror of others. Authority is the signature in the call; the sender grants
/// nothing but the right to pay for the transaction. Every entry point: AUTHORITY – REPEAT – CHECKS – EFFECTS – EVENT.
/// @dev Publications live here; money, inference and views in `CaimiExtension`, whose code runs on this storage. One
/// contract would leave no room to grow (docs/adr/0020-registry-extension.md).
contract CaimiRegistry is Locks, Batches, Application {
    uint256 private constant MAX_CALLS = 1000;

    address private immutable _extension;

    /// @param genesis descriptor of the network: first validator set, f, t and host operators
    /// @param limits smallest deposit, clock window, resume delay and cap on withdrawals
    /// @param token ERC-20 with EIP-2612
    /// @param root registry whose word governs lanes; all zero for this one
    constructor(Genesis memory genesis, Limits memory limits, address token, Lane memory root)
        RegistryStorage(Creation.site(genesis, limits, token, root))
    {
        uint256 n = genesis.validators.length;
        _epoch = 1;
        _validators = genesis.validators;
        (_f, _t, _quorum) = (genesis.f, genesis.t, uint8((n + genesis.f) / 2 + 1));
        for (uint256 i = 0; i < genesis.operators.length; i++) {
            _isOperator[genesis.operators[i]] = true;
        }
        _lanes.push(Lane({chain: _chain, registry: _registry}));
        _laneNumbers[CaimiWire.laneKey(_chain, _registry)] = HERE;
        Site memory site = Site({
            network: _network,
            chain: _chain,
            registry: _registry,
            chainId: _chainId,
            minDeposit: _minDeposit,
            clockWindow: _clockWindow,
            token: _token,
            resumeDelay: _resumeDelay,
            withdrawalCap: _withdrawalCap,
            root: Lane({chain: _rootChain, registry: _rootRegistry})
        });
        _extension = address(new CaimiExtension(site));
    }

    /// @notice Everything that is not of this contract: functions of the extension; what it does not have either is
    /// `UnknownFunction`. No ether is taken.
    fallback(bytes calldata call) external returns (bytes memory) {
        return _run(_extension, call);
    }

    /// @notice The calls in order, all or nothing, not nested.
    /// @param calls at most 1,000 calls of this registry's functions, selector and arguments
    /// @return results what each call returned
    function multicall(bytes[] calldata calls) external onOwnChain returns (bytes[] memory results) {
        require(calls.length <= MAX_CALLS, BadEncoding());
        results = new bytes[](calls.length);
        for (uint256 i = 0; i < calls.length; i++) {
            require(bytes4(calls[i]) != this.multicall.selector, BadEncoding());
            results[i] = _run(address(this), calls[i]);
        }
    }

    // Runs a call of `code` on this storage, and fails as it fails.
    function _run(address code, bytes calldata call) private returns (bytes memory answer) {
        uint256 given = gasleft();
        bool ok;
        (ok, answer) = code.delegatecall(call);
        if (ok) return answer;
        if (answer.length == 0) {
            // Without a word fail the ABI decoder, which is early, and what ran out of gas, which leaves a 64th for each
            // call in between: that is no property of the call, so this runs out of gas as well.
            while (gasleft() < given / 16) {}
            revert BadEncoding();
        }
        assembly ("memory-safe") {
            revert(add(answer, 0x20), mload(answer))
        }
    }
}
