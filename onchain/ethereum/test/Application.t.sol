// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/CaimiWire.sol";
import "../src/libs/Errors.sol";
import {Fixture} from "./support/Fixture.sol";
import {IRegistry} from "./support/IRegistry.sol";

/// @notice What the items of a run do, and that none of them can stop it (spec 20 §3, spec 30 §3).
contract ApplicationTest is Fixture {
    uint64 private _next = 1;

    function _carry(Lane memory source, Event memory e, Disposition disposition, uint16 code) private {
        vm.expectEmit();
        emit IRegistry.Applied(source.chain, source.registry, _next, uint8(disposition), code);
        carry(source, _next++, e);
    }

    function _applied(Lane memory source, Event memory e) private {
        _carry(source, e, Disposition.APPLIED, 0);
    }

    function _ignored(Lane memory source, Event memory e) private {
        _carry(source, e, Disposition.IGNORED, 0);
    }

    function _pending(Lane memory source, Event memory e) private {
        _carry(source, e, Disposition.PENDING, 0);
    }

    function _refused(Lane memory source, Event memory e, uint16 code) private {
        uint64 events = registry.eventCount();
        _carry(source, e, Disposition.REFUSED, code);
        vm.assertEq(registry.eventCount(), events, "a refused item emitted");
    }

    function _assertState(bytes32 id, State state) private view {
        vm.assertEq(uint8(stateOf(id)), uint8(state), "state");
    }

    // --- home

    function test_last_locked_commits() public {
        Publication memory p = homePublication();
        p.mirrors = lanes(other, third);
        bytes32 id = lock(p);
        _applied(third, answer(Kind.LOCKED, id));
        _assertState(id, State.LOCKED);
        (,,,,,,,,, uint8 awaited,) = registry.publication(id);
        vm.assertEq(awaited, 1, "awaited");
        vm.expectEmit();
        emit IRegistry.Emitted(2, 1, Kind.OUTCOME, p.mirrors, id, abi.encode(State.COMMITTED, uint16(0)));
        _applied(other, answer(Kind.LOCKED, id));
        _assertState(id, State.COMMITTED);
        vm.assertEq(registry.balance(p.publisher), OPENING - MIN_DEPOSIT, "the deposit stays");
    }

    function test_refused_aborts_and_refunds_once() public {
        Publication memory p = homePublication();
        p.mirrors = lanes(other, third);
        bytes32 id = lock(p);
        vm.expectEmit();
        emit IRegistry.Emitted(2, 1, Kind.OUTCOME, p.mirrors, id, abi.encode(State.ABORTED, uint16(2)));
        _applied(other, answer(Kind.REFUSED, id));
        _assertState(id, State.ABORTED);
        vm.assertEq(registry.balance(p.publisher), OPENING, "refunded");
        _refused(third, answer(Kind.LOCKED, id), Refusals.ALREADY_DECIDED);
        _refused(third, answer(Kind.REFUSED, id), Refusals.ALREADY_DECIDED);
        _ignored(other, answer(Kind.LOCKED, id));
        vm.assertEq(registry.balance(p.publisher), OPENING, "refunded once");
    }

    function test_locked_counts_until_the_last_second() public {
        bytes32 id = lock(homePublication());
        vm.warp(DEADLINE + 1);
        _refused(other, answer(Kind.LOCKED, id), Refusals.PAST_DEADLINE);
        _assertState(id, State.LOCKED);
        vm.warp(DEADLINE);
        _applied(other, answer(Kind.LOCKED, id));
        _assertState(id, State.COMMITTED);
    }

    function test_refused_counts_after_the_deadline() public {
        bytes32 id = lock(homePublication());
        vm.warp(DEADLINE + 1);
        _applied(other, answer(Kind.REFUSED, id));
        _assertState(id, State.ABORTED);
    }

    function test_early_answers_decide_at_the_lock_and_the_first_one_stays() public {
        Publication memory p = homePublication();
        bytes32 id = idOf(p);
        _pending(other, answer(Kind.LOCKED, id));
        _pending(other, answer(Kind.REFUSED, id));
        _pending(third, answer(Kind.REFUSED, id));
        lock(p);
        _assertState(id, State.COMMITTED);
        _ignored(other, answer(Kind.REFUSED, id));
        vm.assertEq(registry.eventCount(), 2, "LOCKED, OUTCOME");
    }

    function test_early_refusal_aborts_at_the_lock() public {
        Publication memory p = homePublication();
        p.mirrors = lanes(other, third);
        _pending(third, answer(Kind.REFUSED, idOf(p)));
        bytes32 id = lock(p);
        _assertState(id, State.ABORTED);
        vm.assertEq(registry.balance(p.publisher), OPENING, "refunded");
        (,,,,,,,,, uint8 awaited, uint8 reason) = registry.publication(id);
        vm.assertEq(awaited, 1, "awaited");
        vm.assertEq(reason, uint8(AbortReason.MIRROR_REFUSED), "reason");
    }

    function test_early_answer_is_known_after_an_abort_of_bytes_never_locked() public {
        Publication memory p = homePublication();
        p.mirrors = lanes(other, third);
        _pending(other, answer(Kind.LOCKED, idOf(p)));
        vm.warp(DEADLINE + 1);
        registry.abortUnlocked(p, sign(PUBLISHER, wire.hash(p)));
        _ignored(other, answer(Kind.LOCKED, idOf(p)));
        _refused(third, answer(Kind.LOCKED, idOf(p)), Refusals.ALREADY_DECIDED);
    }

    function test_rejects_answers_of_others() public {
        Publication memory p = homePublication();
        bytes32 id = lock(p);
        _refused(third, answer(Kind.LOCKED, id), Refusals.WRONG_AUTHORITY);
        _refused(third, answer(Kind.REFUSED, id), Refusals.WRONG_AUTHORITY);
        Event memory elsewhere = answer(Kind.LOCKED, id);
        elsewhere.body = abi.encode(Role.MIRROR, third);
        _refused(other, elsewhere, Refusals.WRONG_AUTHORITY);
        bytes32 mirrored = lock(mirrorPublication());
        _refused(other, answer(Kind.LOCKED, mirrored), Refusals.WRONG_AUTHORITY);
        _assertState(id, State.LOCKED);
    }

    // --- superseding

    function _commit(uint64 version) private returns (bytes32 id) {
        Publication memory p = homePublication();
        p.version = version;
        id = lock(p);
        _applied(other, answer(Kind.LOCKED, id));
    }

    function test_higher_version_supersedes_and_refunds() public {
        bytes32 first = _commit(1);
        Publication memory p = homePublication();
        p.version = 3;
        bytes32 higher = lock(p);
        vm.assertEq(registry.balance(p.publisher), OPENING - 2 * MIN_DEPOSIT, "two deposits held");
        vm.expectEmit();
        emit IRegistry.Emitted(4, 1, Kind.OUTCOME, p.mirrors, higher, abi.encode(State.COMMITTED, uint16(0)));
        vm.expectEmit();
        emit IRegistry.Emitted(5, 1, Kind.SUPERSEDED, p.mirrors, first, abi.encode(uint64(3)));
        _applied(other, answer(Kind.LOCKED, higher));
        _assertState(first, State.SUPERSEDED);
        _assertState(higher, State.COMMITTED);
        vm.assertEq(registry.balance(p.publisher), OPENING - MIN_DEPOSIT, "one given back");
    }

    function test_lower_version_is_superseded_at_once() public {
        _commit(3);
        bytes32 lower = _commit(2);
        _assertState(lower, State.SUPERSEDED);
        vm.assertEq(registry.balance(vm.addr(PUBLISHER)), OPENING - MIN_DEPOSIT, "its deposit came back");
        // The latest is still version 3, which version 4 supersedes.
        bytes32 latest = _commit(4);
        _assertState(latest, State.COMMITTED);
        vm.assertEq(registry.eventCount(), 8, "LOCKED and OUTCOME of three, SUPERSEDED of two");
    }

    function test_names_of_other_publishers_do_not_meet() public {
        bytes32 first = _commit(1);
        fund(STRANGER, OPENING);
        Publication memory p = homePublication();
        (p.publisher, p.version) = (vm.addr(STRANGER), 2);
        bytes32 id = registry.lockModel(p, sign(STRANGER, wire.hash(p)));
        _applied(other, answer(Kind.LOCKED, id));
        _assertState(first, State.COMMITTED);
        _assertState(id, State.COMMITTED);
    }

    // --- mirror

    function test_mirror_follows_its_home_and_no_clock() public {
        Publication memory p = mirrorPublication();
        bytes32 id = lock(p);
        vm.warp(DEADLINE + 1e6);
        _applied(other, outcome(id, State.COMMITTED));
        _assertState(id, State.COMMITTED);
        _ignored(other, outcome(id, State.COMMITTED));
        _refused(other, outcome(id, State.ABORTED), Refusals.ALREADY_DECIDED);
        _applied(other, outcome(id, State.SUPERSEDED));
        _assertState(id, State.SUPERSEDED);
        _ignored(other, outcome(id, State.COMMITTED));
        _ignored(other, outcome(id, State.SUPERSEDED));
        _refused(other, outcome(id, State.ABORTED), Refusals.ALREADY_DECIDED);
        vm.assertEq(registry.eventCount(), 1, "a mirror emits its answer and nothing more");
    }

    function test_mirror_follows_an_abort_to_the_end() public {
        bytes32 id = lock(mirrorPublication());
        _applied(other, outcome(id, State.ABORTED));
        _assertState(id, State.ABORTED);
        _ignored(other, outcome(id, State.ABORTED));
        _refused(other, outcome(id, State.COMMITTED), Refusals.ALREADY_DECIDED);
        _refused(other, outcome(id, State.SUPERSEDED), Refusals.ALREADY_DECIDED);
    }

    function test_refused_mirror_can_only_be_aborted() public {
        Publication memory p = mirrorPublication();
        p.format = 2;
        bytes32 id = lock(p);
        _refused(other, outcome(id, State.COMMITTED), Refusals.ALREADY_DECIDED);
        _refused(other, outcome(id, State.SUPERSEDED), Refusals.ALREADY_DECIDED);
        _assertState(id, State.REFUSED);
        _applied(other, outcome(id, State.ABORTED));
        _assertState(id, State.ABORTED);
    }

    function test_early_outcome_meets_the_lock() public {
        Publication memory p = mirrorPublication();
        bytes32 id = idOf(p);
        _pending(other, outcome(id, State.COMMITTED));
        _pending(other, outcome(id, State.ABORTED));
        _pending(third, outcome(id, State.ABORTED));
        _pending(other, outcome(id, State.SUPERSEDED));
        _pending(other, outcome(id, State.COMMITTED));
        lock(p);
        _assertState(id, State.SUPERSEDED);
    }

    function test_early_abort_stays_an_abort() public {
        Publication memory p = mirrorPublication();
        _pending(other, outcome(idOf(p), State.ABORTED));
        _pending(other, outcome(idOf(p), State.SUPERSEDED));
        _pending(other, outcome(idOf(p), State.COMMITTED));
        _assertState(lock(p), State.ABORTED);
    }

    function test_early_commit_does_not_move_a_refusal() public {
        Publication memory p = mirrorPublication();
        p.version = 0;
        _pending(other, outcome(idOf(p), State.COMMITTED));
        _assertState(lock(p), State.REFUSED);
    }

    function test_rejects_outcomes_of_others() public {
        bytes32 mirrored = lock(mirrorPublication());
        _refused(third, outcome(mirrored, State.COMMITTED), Refusals.WRONG_AUTHORITY);
        bytes32 id = lock(homePublication());
        _refused(other, outcome(id, State.ABORTED), Refusals.WRONG_AUTHORITY);
        _refused(other, outcome(id, State.SUPERSEDED), Refusals.WRONG_AUTHORITY);
        _assertState(mirrored, State.LOCKED);
        _assertState(id, State.LOCKED);
    }

    // --- ANSWERED

    function _answered(bytes32 subject, bytes32 request, bytes32 receipt) private view returns (Event memory) {
        bytes memory body = abi.encode(request, receipt, Cid(0, 0));
        return Event(1, Kind.ANSWERED, lanes(own), subject, body);
    }

    function test_receipt_of_a_mirror_is_kept_once() public {
        bytes32 id = lock(homePublication());
        _applied(other, _answered(id, "request", RECEIPT));
        vm.assertEq(registry.receiptOf("request"), RECEIPT, "receipt");
        _ignored(other, _answered(id, "request", "another"));
        vm.assertEq(registry.receiptOf("request"), RECEIPT, "the first stays");
        _applied(other, _answered(id, "zero", 0));
        _ignored(other, _answered(id, "zero", RECEIPT));
    }

    function test_rejects_receipts_of_others() public {
        bytes32 id = lock(homePublication());
        _refused(other, _answered("nothing", "request", RECEIPT), Refusals.UNKNOWN_PUBLICATION);
        _refused(third, _answered(id, "request", RECEIPT), Refusals.WRONG_AUTHORITY);
        bytes32 mirrored = lock(mirrorPublication());
        _refused(other, _answered(mirrored, "request", RECEIPT), Refusals.WRONG_AUTHORITY);
        vm.assertEq(registry.receiptOf("request"), 0, "no receipt");
    }

    // --- totality

    function test_odd_events_are_ignored_or_refused() public {
        bytes32 id = lock(homePublication());
        Event memory e = answer(Kind.LOCKED, id);
        e.schema = 2;
        _ignored(other, e);
        uint16[5] memory kinds = [uint16(0), 5, 7, 15, type(uint16).max];
        for (uint256 i = 0; i < kinds.length; i++) {
            _ignored(other, Event(1, kinds[i], lanes(own), id, hex"00"));
        }
        e = answer(Kind.LOCKED, id);
        e.body = abi.encode(Role.HOME, own);
        _ignored(other, e);
        e.body = abi.encode(uint256(255), own);
        _ignored(other, e);
        _ignored(other, Event(1, Kind.OUTCOME, lanes(own), id, abi.encode(State.LOCKED, uint16(0))));
        _ignored(other, Event(1, Kind.OUTCOME, lanes(own), id, abi.encode(uint256(255), uint16(0))));
    }

    function test_malformed_bodies_are_refused() public {
        bytes32 id = lock(homePublication());
        bytes[14] memory bodies = [
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
            abi.encode(id, RECEIPT, uint256(1))
        ];
        uint16[14] memory kinds = [uint16(1), 2, 1, 1, 2, 2, 2, 3, 3, 3, 4, 4, 6, 6];
        for (uint256 i = 0; i < bodies.length; i++) {
            _refused(other, Event(1, kinds[i], lanes(own), id, bodies[i]), Refusals.BAD_BODY);
        }
        _assertState(id, State.LOCKED);
    }

    /// @dev Whatever the events are, a certified run is applied, and each event leaves one note.
    function testFuzz_application_is_total(uint16[8] memory kinds, bytes[8] memory bodies, uint8[8] memory sizes)
        public
    {
        bytes32 home = lock(homePublication());
        bytes32 mirrored = lock(mirrorPublication());
        Event[] memory events = new Event[](8);
        for (uint256 i = 0; i < 8; i++) {
            bytes32[3] memory subjects = [home, mirrored, keccak256(bodies[i])];
            uint256[7] memory lengths = [uint256(32), 64, 96, 128, 160, 192, bodies[i].length];
            bytes memory body = new bytes(lengths[sizes[i] % 7]);
            for (uint256 j = 0; j < body.length && j < bodies[i].length; j++) {
                body[body.length - 1 - j] = bodies[i][j];
            }
            events[i] = Event(sizes[i] == 0 ? 2 : 1, kinds[i] % 8, lanes(own), subjects[kinds[i] % 3], body);
        }
        (Certificate memory certificate, Item[] memory items, bytes32[] memory proof) = run(other, 1, events);
        registry.applyRun(certificate, items, proof);
        for (uint64 i = 1; i <= 8; i++) {
            vm.assertTrue(registry.isMarked(other, 1, i), "marked");
        }
    }

    // --- marks

    function test_events_for_others_are_neither_applied_nor_marked() public {
        bytes32 id = lock(homePublication());
        Event memory e = answer(Kind.LOCKED, id);
        e.destinations = lanes(other, third);
        carry(other, 1, e);
        _assertState(id, State.LOCKED);
        vm.assertTrue(!registry.isMarked(other, 1, 1), "not marked");
        e.destinations = new Lane[](0);
        carry(other, 2, e);
        _assertState(id, State.COMMITTED);
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
