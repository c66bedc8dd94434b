// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Brakes} from "./Brakes.sol";
import {Decisions} from "./Decisions.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {OrderWire} from "./libs/OrderWire.sol";
import {Decision} from "./libs/Bodies.sol";
import {Action, Governance, Kind, Lane, Signature} from "./libs/Records.sol";
import {BadGovernance, LaneDropped, NotRoot, WrongCounter} from "./libs/Errors.sol";

/// @title A quorum's decisions about lanes, recorded at the root registry (spec 35 §3)
abstract contract LaneGovernance is Brakes, Decisions {
    /// @notice Record a decision about a lane, and tell all registries. Anyone may submit it.
    /// @param order what a quorum signed
    /// @param signatures ascending by signer
    function govern(Governance calldata order, Signature[] calldata signatures) external onOwnChain {
        // AUTHORITY
        _verifySet(OrderWire.hash(order), order.epoch, order.target, signatures, _quorum);
        require(_rootChain == _chain && _rootRegistry == _registry, NotRoot());
        // REPEAT
        bytes32 key = CaimiWire.laneKey(order.lane);
        GovernedLane storage last = _governed[key];
        Decision memory d = Decision({
            action: order.action,
            chain: order.lane.chain,
            registry: order.lane.registry,
            version: order.version,
            generation: order.generation,
            height: order.height,
            blockHash: order.blockHash
        });
        if (_isDecided(last, d)) return;
        // CHECKS
        require(!last.dropped, LaneDropped());
        uint64 next = last.version + 1;
        require(d.version == next, WrongCounter(next, d.version));
        require(!_isHere(order.lane) && _isLawful(last, d), BadGovernance());
        // EFFECTS
        _decide(last, d);
        // EVENT: the body's values in their order, all static
        _emit(Kind.GOVERNANCE, new Lane[](0), key, abi.encode(d));
    }

    /// @notice The registry whose word governs lanes.
    function root() external view returns (Lane memory) {
        return Lane({chain: _rootChain, registry: _rootRegistry});
    }

    /// @notice What governance decided last about a lane.
    /// @return version number of decisions about it; 0 if there was none
    /// @return generation that certificates of it must have
    /// @return height of the last block kept
    /// @return blockHash of the last block kept
    /// @return dropped whether nothing that it says is taken any more
    function governed(Lane calldata lane)
        external
        view
        returns (uint64 version, uint64 generation, uint64 height, bytes32 blockHash, bool dropped)
    {
        GovernedLane storage last = _governed[CaimiWire.laneKey(lane)];
        return (last.version, FIRST_GENERATION + last.raised, last.height, last.blockHash, last.dropped);
    }

    function _isDecided(GovernedLane storage last, Decision memory d) private view returns (bool) {
        bool same = d.version == last.version && d.generation == FIRST_GENERATION + last.raised
            && d.height == last.height && d.blockHash == last.blockHash;
        return same && (d.action == Action.DROP_LANE) == last.dropped;
    }

    function _isLawful(GovernedLane storage last, Decision memory d) private view returns (bool) {
        uint64 present = FIRST_GENERATION + last.raised;
        if (d.action == Action.RESUME_LANE) return d.generation == present + 1 && d.blockHash != 0;
        bool nothingKept = d.height == 0 && d.blockHash == 0;
        return d.action == Action.DROP_LANE && d.generation == present && nothingKept;
    }
}
