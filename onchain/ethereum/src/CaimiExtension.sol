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
import {UnknownFunction} from "./libs/Errors.sol";

/// @title The part of a registry that needs no certificate: money, inference, revocations, brakes, governance,
/// batches once they are locked, views
/// @notice A registry creates its own and runs this code on its own storage; a call to this address changes nothing.
contract CaimiExtension is Money, Inference, Revocations, LaneGovernance, BatchCalls, TakingOut, Views {
    /// @param site what the registry fixed at its creation
    constructor(Site memory site) RegistryStorage(site) {}

    /// @notice The registry has no such function.
    fallback() external {
        revert UnknownFunction();
    }
}
