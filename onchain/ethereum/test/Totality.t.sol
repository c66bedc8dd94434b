// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Refusals} from "../src/libs/Errors.sol";
import "../src/libs/Records.sol";
import {Batching} from "./support/Batching.sol";
import {IRegistry} from "./support/IRegistry.sol";

/// @notice No item stops a run, and each counts once (spec 20 §3).
contract TotalityTest is Batching {
    // --- odd events

    function test_odd_events_are_ignored_or_refused() public {
        bytes32 id = lock(homePublication());
        Event memory e = answer(Kind.LOCKED, id);
        e.schema = 2;
        ignored(other, e);
        uint16[5] memory kinds = [uint16(0), 5, 8, 14, type(uint16).max];
        for (uint256 i = 0; i < kinds.length; i++) {
            ignored(other, Event(1, kinds[i], lanes(own), id, hex"00"));
        }
        e = answer(Kind.LOCKED, id);
        e.body = abi.encode(Role.HOME, own);
        ignored(other, e);
        e.body = abi.encode(uint256(255), own);
        ignored(other, e);
        ignored(other, Event(1, Kind.OUTCOME, lanes(own), id, abi.encode(State.LOCKED, uint16(0))));
        ignored(other, Event(1, Kind.OUTCOME, lanes(own), id, abi.encode(uint256(255), uint16(0))));
    }

    function test_malformed_bodies_are_refused() public {
        bytes32 id = lock(homePublication());
        bytes[15] memory bodies = [
            bytes(""),
            hex"00",
            abi.encode(uint256(256), own),
            bytes.concat(abi.encode(Role.MIRROR, own), hex"00"),
            abi.encode(Role.MIRROR, own, uint256(0)),
            abi.encode(uint256(65_536), own),
            abi.encode(own),
            abi.encode(uint256(256), uint256(0)),
            abi.encode(uint256(2), uint256(65_536)),
            abi.encode(uint256(2)),
            abi.encode(uint256(1 << 64)),
            new bytes(1024),
            abi.encode(id, RECEIPT, uint256(256), RECEIPT),
            abi.encode(id, RECEIPT, uint256(1)),
            abi.encode(id, uint256(0), uint256(0x55), RECEIPT)
        ];
        uint16[15] memory kinds = [uint16(1), 2, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 6, 6, 6];
        for (uint256 i = 0; i < bodies.length; i++) {
            refused(other, Event(1, kinds[i], lanes(own), id, bodies[i]), Refusals.BAD_BODY);
        }
        assertState(id, State.LOCKED);
    }

    /// @dev Whatever the events are, a certified run is applied, and each event leaves one note. Only words about
    /// validator sets are passed over: all of them as long as their code is not known.
    function testFuzz_application_is_total(
        uint16[8] memory kinds,
        bytes[8] memory bodies,
        uint8[8] memory sizes,
        bool attached
    ) public {
        if (attached) attachEpochs();
        bytes32 batch = lockAll(homeBatch(2));
        bytes32[3] memory subjects = [lock(homePublication()), lock(mirrorPublication()), batch];
        registry.answerBatch(other, batch);
        Event[] memory events = new Event[](8);
        for (uint256 i = 0; i < 8; i++) {
            events[i] = _odd(kinds[i], bodies[i], sizes[i], subjects);
        }
        (Certificate memory certificate, Item[] memory items, bytes32[] memory proof) = run(other, 1, events);
        registry.applyRun(certificate, items, proof);
        for (uint64 i = 1; i <= 8; i++) {
            uint16 kind = events[i - 1].kind;
            bool ofSets = events[i - 1].schema == 1
                && (kind == Kind.SET_CHANGE || kind == Kind.SET_RETIRED || kind == Kind.SET_ENTERED);
            bool marked = registry.isMarked(other, 1, i);
            if (!ofSets) vm.assertTrue(marked, "marked");
            else if (!attached) vm.assertTrue(!marked, "passed over");
            // A word of sets that nobody can read is no reason to hear it again.
            else if (events[i - 1].body.length > 64) vm.assertTrue(marked, "refused");
        }
    }

    function _odd(uint16 choice, bytes memory filling, uint8 size, bytes32[3] memory subjects)
        private
        view
        returns (Event memory)
    {
        uint256[7] memory lengths = [uint256(32), 64, 96, 128, 160, 192, filling.length];
        bytes memory body = new bytes(lengths[size % 7]);
        for (uint256 j = 0; j < body.length && j < filling.length; j++) {
            body[body.length - 1 - j] = filling[j];
        }
        bytes32 subject = choice % 4 < 3 ? subjects[choice % 4] : keccak256(filling);
        // 0 to 7, the three of batches, and the three of sets.
        uint16[14] memory known = [uint16(0), 1, 2, 3, 4, 5, 6, 7, 16, 17, 18, 11, 12, 19];
        return Event(size == 0 ? 2 : 1, known[choice % 14], lanes(own), subject, body);
    }

    /// @dev Out of gas is no disposition: whatever the limit is, all of a run is applied, or nothing.
    function test_a_run_with_batches_is_applied_whole_or_not_at_all() public {
        Publication[] memory ps = homeBatch(2);
        bytes32 root = lockAll(ps);
        Event[] memory events = new Event[](4);
        events[0] = batchOutcome("a", State.COMMITTED, 3, 5);
        events[1] = batchAnswer(root, 1);
        events[2] = batchAnswer("b", 2);
        events[3] = batchOutcome("c", State.ABORTED, 1, 0);
        (Certificate memory certificate, Item[] memory items, bytes32[] memory proof) = run(other, 1, events);
        bytes memory call = abi.encodeCall(IRegistry.applyRun, (certificate, items, proof));
        uint256 failures = 0;
        bool ok = false;
        for (uint256 limit = 20_000; !ok; limit += 997) {
            (ok,) = address(registry).call{gas: limit}(call);
            for (uint64 i = 1; i <= 4; i++) {
                vm.assertTrue(registry.isMarked(other, 1, i) == ok, "marked");
            }
            vm.assertEq(registry.eventCount(), ok ? 2 : 1, "events");
            assertBatch(own, root, ok ? State.COMMITTED : State.LOCKED);
            assertBatch(other, "a", ok ? State.COMMITTED : State.NONE);
            assertBatch(other, "c", ok ? State.ABORTED : State.NONE);
            if (!ok) failures++;
        }
        vm.assertTrue(failures > 100, "the limits begin too high to show anything");
    }

    // --- marks

    function test_events_for_others_are_neither_applied_nor_marked() public {
        bytes32 id = lock(homePublication());
        Event memory e = answer(Kind.LOCKED, id);
        e.destinations = lanes(other, third);
        carry(other, 1, e);
        assertState(id, State.LOCKED);
        vm.assertTrue(!registry.isMarked(other, 1, 1), "not marked");
        e.destinations = new Lane[](0);
        carry(other, 2, e);
        assertState(id, State.COMMITTED);
        vm.assertTrue(registry.isMarked(other, 1, 2), "marked");
        vm.assertTrue(!registry.isMarked(other, 2, 2), "not of the next generation");
        vm.assertTrue(!registry.isMarked(third, 1, 2), "not of another lane");
    }

    function test_repeated_run_does_nothing() public {
        bytes32 id = lock(homePublication());
        Event[] memory events = new Event[](3);
        (events[0], events[1], events[2]) =
        (answer(Kind.LOCKED, "one"), answer(Kind.LOCKED, id), answer(Kind.LOCKED, "two"));
        (Certificate memory certificate, Item[] memory items, bytes32[] memory proof) = run(other, 254, events);
        registry.applyRun(certificate, items, proof);
        expectUntouched(abi.encodeCall(IRegistry.applyRun, (certificate, items, proof)));
    }
}
