// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../../src/libs/Records.sol";
import {Carrier} from "./Carrier.sol";
import {IRegistry} from "./IRegistry.sol";

/// @title Batches, their proofs and what other registries tell of them (spec 37)
abstract contract Batching is Carrier {
    // Lawful together, each with a name of its own.
    function batchOf(uint256 count, Lane memory home, Lane[] memory mirrors)
        internal
        returns (Publication[] memory ps)
    {
        ps = new Publication[](count);
        for (uint256 i = 0; i < count; i++) {
            ps[i] = publication(home, mirrors[0]);
            ps[i].mirrors = mirrors;
            ps[i].name = string.concat("model-", vm.toString(i));
        }
    }

    function homeBatch(uint256 count) internal returns (Publication[] memory) {
        return batchOf(count, own, lanes(other));
    }

    function mirrorBatch(uint256 count) internal returns (Publication[] memory) {
        return batchOf(count, other, lanes(own));
    }

    function signAll(Publication[] memory ps) internal view returns (bytes[] memory) {
        return signAll(PUBLISHER, ps);
    }

    function signAll(uint256 key, Publication[] memory ps) internal view returns (bytes[] memory signatures) {
        signatures = new bytes[](ps.length);
        for (uint256 i = 0; i < ps.length; i++) {
            signatures[i] = sign(key, wire.hash(ps[i]));
        }
    }

    function batchCall(Publication[] memory ps) internal view returns (bytes memory) {
        return abi.encodeCall(IRegistry.lockBatch, (ps, signAll(ps)));
    }

    function lockAll(Publication[] memory ps) internal returns (bytes32) {
        return registry.lockBatch(ps, signAll(ps));
    }

    function idsOf(Publication[] memory ps) internal view returns (bytes32[] memory ids) {
        ids = new bytes32[](ps.length);
        for (uint256 i = 0; i < ps.length; i++) {
            ids[i] = idOf(ps[i]);
        }
    }

    function leavesOf(Publication[] memory ps) internal view returns (bytes32[] memory leaves) {
        leaves = idsOf(ps);
        for (uint256 i = 0; i < ps.length; i++) {
            bytes32 inner = keccak256(abi.encode(bytes32("CAIMI/1/batch-item"), i, leaves[i]));
            leaves[i] = keccak256(abi.encodePacked(bytes1(0x00), inner));
        }
    }

    function rootOfBatch(Publication[] memory ps) internal view returns (bytes32) {
        return rootOf(leavesOf(ps));
    }

    function proofOf(Publication[] memory ps, uint256 index) internal view returns (BatchProof memory proof) {
        bytes32[] memory level = leavesOf(ps);
        proof = BatchProof(ps[0].home, rootOf(level), uint16(index), siblingsOf(level, index));
    }

    // From the leaf upwards, without those that are not there.
    function siblingsOf(bytes32[] memory level, uint256 index) internal pure returns (bytes32[] memory siblings) {
        siblings = new bytes32[](8);
        uint256 count = 0;
        while (level.length > 1) {
            if (index ^ 1 < level.length) siblings[count++] = level[index ^ 1];
            bytes32[] memory above = new bytes32[]((level.length + 1) / 2);
            for (uint256 i = 0; i < above.length; i++) {
                bool odd = 2 * i + 1 == level.length;
                above[i] = odd ? level[2 * i] : keccak256(abi.encodePacked(hex"01", level[2 * i], level[2 * i + 1]));
            }
            (level, index) = (above, index / 2);
        }
        assembly ("memory-safe") {
            mstore(siblings, count)
        }
    }

    function takeOutCall(Publication[] memory ps, uint256 index) internal view returns (bytes memory) {
        return takeOutCall(ps, index, proofOf(ps, index));
    }

    function takeOutCall(Publication[] memory ps, uint256 index, BatchProof memory proof)
        internal
        view
        returns (bytes memory)
    {
        return abi.encodeCall(IRegistry.takeOut, (ps[index], sign(PUBLISHER, wire.hash(ps[index])), proof));
    }

    function takeOut(Publication[] memory ps, uint256 index) internal returns (bytes32) {
        return registry.takeOut(ps[index], sign(PUBLISHER, wire.hash(ps[index])), proofOf(ps, index));
    }

    // A mirror's answer, whose rules have a version.
    function batchAnswer(bytes32 root, uint16 version) internal view returns (Event memory) {
        return Event(1, Kind.BATCH_ANSWERED, lanes(own), root, abi.encode(version, own));
    }

    function batchOutcome(bytes32 root, State state, uint256 count, uint256 taken)
        internal
        view
        returns (Event memory)
    {
        uint16 reason = state == State.ABORTED ? 1 : 0;
        return Event(1, Kind.BATCH_OUTCOME, lanes(own), root, abi.encode(state, reason, count, taken));
    }

    function assertBatch(Lane memory home, bytes32 root, State state) internal view {
        (, uint8 actual,,,,,,,) = registry.batch(home, root);
        vm.assertEq(actual, uint8(state), "state of the batch");
    }

    function assertSeen(Publication[] memory ps, uint256 index, Role role, State state) internal view {
        (uint8 actualRole, uint8 actual) = registry.stateIn(idOf(ps[index]), proofOf(ps, index));
        vm.assertEq(actualRole, uint8(role), "role seen");
        vm.assertEq(actual, uint8(state), "state seen");
    }
}
