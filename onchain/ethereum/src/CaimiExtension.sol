// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {BatchCalls} from "./BatchCalls.sol";
import {Inference} from "./Inference.sol";
import {LaneGovernance} from "./LaneGovernance.sol";
import {Money} from "./Money.sol";
import {RegistryStorage} from "./RegistryStorage.sol";
import {Revocations} from "./Revocations.sol";
import {TakingOut} from "./TakingOut.sol";
import {Views} from "./Views.sol";
import {Site} from "./libs/Creation.sol";
import {ISets} from "./ISets.sol";
import {EPOCHS_CODE_HASH} from "./libs/EpochsCode.sol";
import {UnknownFunction, WrongCommitment} from "./libs/Errors.sol";

/// @title The part of a registry that needs no certificate: money, inference, revocations, brakes, governance,
/// batches once they are locked, views
/// @notice A registry creates its own and runs this code on its own storage; a call to this address changes nothing.
contract CaimiExtension is Money, Inference, Revocations, LaneGovernance, BatchCalls, TakingOut, Views {
    /// @param site what the registry fixed at its creation
    constructor(Site memory site) RegistryStorage(site) {}

    /// @notice Make the functions of `CaimiEpochs` this registry's. Anyone may, once that code is on the chain.
    /// @param code where it is
    function attachEpochs(address code) external onOwnChain {
        require(code.codehash == EPOCHS_CODE_HASH, WrongCommitment());
        _epochsCode = code;
    }

    /// @notice Functions of `CaimiEpochs`; what it does not have either, and what only the registry itself asks of it, is
    /// `UnknownFunction`.
    fallback() external {
        address code = _epochsCode;
        require(code != address(0) && msg.sig != ISets.applySet.selector, UnknownFunction());
        assembly ("memory-safe") {
            let free := mload(0x40)
            calldatacopy(free, 0, calldatasize())
            let ok := delegatecall(gas(), code, free, calldatasize(), 0, 0)
            returndatacopy(free, 0, returndatasize())
            if iszero(ok) { revert(free, returndatasize()) }
            return(free, returndatasize())
        }
    }
}
