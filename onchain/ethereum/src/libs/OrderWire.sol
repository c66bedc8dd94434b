// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CaimiWire} from "./CaimiWire.sol";
import {EpochSet, Governance, Pause, Resume, SetChange} from "./Records.sol";

/// @title The digests of what validators order (spec 10 §4), one function each
library OrderWire {
    bytes32 private constant PAUSE_TYPE =
        keccak256("Pause(Lane at,uint64 epoch,uint64 counter)Lane(bytes32 chain,bytes32 registry)");
    bytes32 private constant RESUME_TYPE =
        keccak256("Resume(Lane at,uint64 epoch,uint64 counter)Lane(bytes32 chain,bytes32 registry)");
    bytes32 private constant GOVERNANCE_TYPE = keccak256(
        "Governance(Lane at,uint64 epoch,uint8 action,Lane lane,uint64 version,uint64 generation,uint64 height,bytes32 blockHash)Lane(bytes32 chain,bytes32 registry)"
    );
    bytes32 private constant EPOCH_SET_TYPE =
        keccak256("EpochSet(uint64 epoch,address[] validators,uint8 f,uint8 t,bytes32 transcript)");
    bytes32 private constant SET_CHANGE_TYPE = keccak256(
        "SetChange(Lane at,uint64 epoch,EpochSet next,Lane[] lanes)EpochSet(uint64 epoch,address[] validators,uint8 f,uint8 t,bytes32 transcript)Lane(bytes32 chain,bytes32 registry)"
    );

    /// @notice hashStruct of a Pause.
    function hash(Pause calldata p) internal pure returns (bytes32) {
        return keccak256(abi.encode(PAUSE_TYPE, CaimiWire.laneHash(p.target), p.epoch, p.counter));
    }

    /// @notice hashStruct of a Resume.
    function hash(Resume calldata r) internal pure returns (bytes32) {
        return keccak256(abi.encode(RESUME_TYPE, CaimiWire.laneHash(r.target), r.epoch, r.counter));
    }

    /// @notice hashStruct of a SetChange.
    function hash(SetChange calldata c) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                SET_CHANGE_TYPE, CaimiWire.laneHash(c.target), c.epoch, hash(c.next), CaimiWire.lanesHash(c.lanes)
            )
        );
    }

    /// @notice hashStruct of an EpochSet: the set hash.
    function hash(EpochSet calldata s) internal pure returns (bytes32) {
        bytes32 accounts = keccak256(abi.encodePacked(s.validators));
        return keccak256(abi.encode(EPOCH_SET_TYPE, s.epoch, accounts, s.f, s.t, s.transcript));
    }

    /// @notice hashStruct of a Governance.
    function hash(Governance calldata g) internal pure returns (bytes32) {
        return keccak256(
            abi.encode(
                GOVERNANCE_TYPE,
                CaimiWire.laneHash(g.target),
                g.epoch,
                g.action,
                CaimiWire.laneHash(g.lane),
                g.version,
                g.generation,
                g.height,
                g.blockHash
            )
        );
    }
}
