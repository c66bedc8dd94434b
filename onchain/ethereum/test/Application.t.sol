// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Refusals} from "../src/libs/Errors.sol";
import "../src/libs/Records.sol";
import {Carrier} from "./support/Carrier.sol";
import {IRegistry} from "./support/IRegistry.sol";

/// @notice What events of mirrors do at home (spec 20 §4, spec 30 §3).
contract ApplicationTest is Carrier {
    // --- answers

    function test_last_locked_commits() public {
        Publication memory p = homePublication();
        p.mirrors = lanes(other, third);
        bytes32 id = lock(p);
        applied(third, answer(Kind.LOCKED, id));
        assertState(id, State.LOCKED);
        (,,,,,,,,, uint8 awaited,) = registry.publication(id);
        vm.assertEq(awaited, 1, "awaited");
        vm.expectEmit();
        emit IRegistry.Emitted(2, 1, Kind.OUTCOME, p.mirrors, id, abi.encode(State.COMMITTED, uint16(0)));
        applied(other, answer(Kind.LOCKED, id));
        assertState(id, State.COMMITTED);
        vm.assertEq(registry.balance(p.publisher), OPENING - MIN_DEPOSIT, "the deposit stays");
    }

    function test_refused_aborts_and_refunds_once() public {
        Publication memory p = homePublication();
        p.mirrors = lanes(other, third);
        bytes32 id = lock(p);
        vm.expectEmit();
        emit IRegistry.Emitted(2, 1, Kind.OUTCOME, p.mirrors, id, abi.encode(State.ABORTED, uint16(2)));
        applied(other, answer(Kind.REFUSED, id));
        assertState(id, State.ABORTED);
        vm.assertEq(registry.balance(p.publisher), OPENING, "refunded");
        refused(third, answer(Kind.LOCKED, id), Refusals.ALREADY_DECIDED);
        refused(third, answer(Kind.REFUSED, id), Refusals.ALREADY_DECIDED);
        ignored(other, answer(Kind.LOCKED, id));
        vm.assertEq(registry.balance(p.publisher), OPENING, "refunded once");
    }

    function test_locked_counts_until_the_last_second() public {
        bytes32 id = lock(homePublication());
        vm.warp(DEADLINE + 1);
        refused(other, answer(Kind.LOCKED, id), Refusals.PAST_DEADLINE);
        assertState(id, State.LOCKED);
        vm.warp(DEADLINE);
        applied(other, answer(Kind.LOCKED, id));
        assertState(id, State.COMMITTED);
    }

    function test_refused_counts_after_the_deadline() public {
        bytes32 id = lock(homePublication());
        vm.warp(DEADLINE + 1);
        applied(other, answer(Kind.REFUSED, id));
        assertState(id, State.ABORTED);
    }

    function test_early_answers_decide_at_the_lock_and_the_first_one_stays() public {
        Publication memory p = homePublication();
        bytes32 id = idOf(p);
        pending(other, answer(Kind.LOCKED, id));
        pending(other, answer(Kind.REFUSED, id));
        pending(third, answer(Kind.REFUSED, id));
        lock(p);
        assertState(id, State.COMMITTED);
        ignored(other, answer(Kind.REFUSED, id));
        vm.assertEq(registry.eventCount(), 2, "LOCKED, OUTCOME");
    }

    function test_early_refusal_aborts_at_the_lock() public {
        Publication memory p = homePublication();
        p.mirrors = lanes(other, third);
        pending(third, answer(Kind.REFUSED, idOf(p)));
        bytes32 id = lock(p);
        assertState(id, State.ABORTED);
        vm.assertEq(registry.balance(p.publisher), OPENING, "refunded");
        (,,,,,,,,, uint8 awaited, uint8 reason) = registry.publication(id);
        vm.assertEq(awaited, 1, "awaited");
        vm.assertEq(reason, uint8(AbortReason.MIRROR_REFUSED), "reason");
    }

    function test_early_answer_is_known_after_an_abort_of_bytes_never_locked() public {
        Publication memory p = homePublication();
        p.mirrors = lanes(other, third);
        pending(other, answer(Kind.LOCKED, idOf(p)));
        vm.warp(DEADLINE + 1);
        registry.abortUnlocked(p, sign(PUBLISHER, wire.hash(p)));
        ignored(other, answer(Kind.LOCKED, idOf(p)));
        refused(third, answer(Kind.LOCKED, idOf(p)), Refusals.ALREADY_DECIDED);
    }

    function test_rejects_answers_of_others() public {
        Publication memory p = homePublication();
        bytes32 id = lock(p);
        refused(third, answer(Kind.LOCKED, id), Refusals.WRONG_AUTHORITY);
        refused(third, answer(Kind.REFUSED, id), Refusals.WRONG_AUTHORITY);
        Event memory elsewhere = answer(Kind.LOCKED, id);
        elsewhere.body = abi.encode(Role.MIRROR, third);
        refused(other, elsewhere, Refusals.WRONG_AUTHORITY);
        bytes32 mirrored = lock(mirrorPublication());
        refused(other, answer(Kind.LOCKED, mirrored), Refusals.WRONG_AUTHORITY);
        assertState(id, State.LOCKED);
    }

    // --- superseding

    function _commit(uint64 version) private returns (bytes32 id) {
        Publication memory p = homePublication();
        p.version = version;
        id = lock(p);
        applied(other, answer(Kind.LOCKED, id));
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
        applied(other, answer(Kind.LOCKED, higher));
        assertState(first, State.SUPERSEDED);
        assertState(higher, State.COMMITTED);
        vm.assertEq(registry.balance(p.publisher), OPENING - MIN_DEPOSIT, "one given back");
    }

    function test_lower_version_is_superseded_at_once() public {
        _commit(3);
        bytes32 lower = _commit(2);
        assertState(lower, State.SUPERSEDED);
        vm.assertEq(registry.balance(vm.addr(PUBLISHER)), OPENING - MIN_DEPOSIT, "its deposit came back");
        // The latest is still version 3, which version 4 supersedes.
        bytes32 latest = _commit(4);
        assertState(latest, State.COMMITTED);
        vm.assertEq(registry.eventCount(), 8, "LOCKED and OUTCOME of three, SUPERSEDED of two");
    }

    function test_names_of_other_publishers_do_not_meet() public {
        bytes32 first = _commit(1);
        fund(STRANGER, OPENING);
        Publication memory p = homePublication();
        (p.publisher, p.version) = (vm.addr(STRANGER), 2);
        bytes32 id = registry.lockModel(p, sign(STRANGER, wire.hash(p)));
        applied(other, answer(Kind.LOCKED, id));
        assertState(first, State.COMMITTED);
        assertState(id, State.COMMITTED);
    }

    // --- receipts

    function _answered(bytes32 subject, bytes32 request, bytes32 receipt) private view returns (Event memory) {
        bytes memory body = abi.encode(request, receipt, Cid(0, 0));
        return Event(1, Kind.ANSWERED, lanes(own), subject, body);
    }

    function test_receipt_of_a_mirror_is_kept_once() public {
        bytes32 id = lock(homePublication());
        applied(other, _answered(id, "request", RECEIPT));
        vm.assertEq(registry.receiptOf("request"), RECEIPT, "receipt");
        ignored(other, _answered(id, "request", "another"));
        vm.assertEq(registry.receiptOf("request"), RECEIPT, "the first stays");
        // Zero stands for "not answered": no registry emits it, and it does not stand in a real receipt's way.
        refused(other, _answered(id, "zero", 0), Refusals.BAD_BODY);
        refused(other, _answered("nothing", "zero", 0), Refusals.BAD_BODY);
        applied(other, _answered(id, "zero", RECEIPT));
        vm.assertEq(registry.receiptOf("zero"), RECEIPT, "receipt after a zero");
    }

    function test_rejects_receipts_of_others() public {
        bytes32 id = lock(homePublication());
        refused(other, _answered("nothing", "request", RECEIPT), Refusals.UNKNOWN_PUBLICATION);
        refused(third, _answered(id, "request", RECEIPT), Refusals.WRONG_AUTHORITY);
        bytes32 mirrored = lock(mirrorPublication());
        refused(other, _answered(mirrored, "request", RECEIPT), Refusals.WRONG_AUTHORITY);
        vm.assertEq(registry.receiptOf("request"), 0, "no receipt");
    }
}
