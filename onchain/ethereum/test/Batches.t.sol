// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/Records.sol";
import "../src/libs/Errors.sol";
import {Batching} from "./support/Batching.sol";
import {IRegistry} from "./support/IRegistry.sol";
import {Log} from "./support/Vm.sol";

/// @notice lockBatch, answers, outcomes and abortBatch (spec 37 §2, §3).
contract BatchesTest is Batching {
    // Item 1 of three, changed by the caller, is to blame, and nothing is done.
    function _refuseItem(Publication[] memory ps, uint16 code) private {
        _refuseItem(ps, signAll(ps), 1, code);
    }

    function _refuseItem(Publication[] memory ps, bytes[] memory signatures, uint16 index, uint16 code) private {
        bytes memory call = abi.encodeCall(IRegistry.lockBatch, (ps, signatures));
        expectRefusal(call, abi.encodeWithSelector(BatchItem.selector, index, code));
        assertBatch(own, rootOfBatch(ps), State.NONE);
    }

    // --- lock

    function test_lock_escrows_and_tells_once() public {
        Publication[] memory ps = homeBatch(5);
        (ps[2].deposit, ps[3].deadline, ps[4].deadline) = (150, DEADLINE + 9, DEADLINE - 9);
        bytes32 root = rootOfBatch(ps);
        vm.recordLogs();
        vm.assertEq(lockAll(ps), root, "root");
        Log[] memory logs = vm.getRecordedLogs();
        vm.assertEq(logs.length, 2, "logs");
        vm.assertEq(logs[0].topics[0], IRegistry.BatchIds.selector, "BatchIds");
        vm.assertEq(logs[0].topics[1], root, "root of the ids");
        vm.assertEq(logs[0].data, abi.encode(idsOf(ps)), "ids");
        vm.assertEq(uint256(logs[1].topics[1]), 1, "sequence");
        vm.assertEq(uint256(logs[1].topics[2]), Kind.BATCH_LOCKED, "kind");
        vm.assertEq(logs[1].topics[3], root, "subject");
        vm.assertEq(logs[1].data, abi.encode(uint16(1), lanes(other), abi.encode(uint16(5))), "event");
        vm.assertEq(registry.balance(ps[0].publisher), OPENING - 550, "balance");
        (, bytes memory read) = address(registry).staticcall(abi.encodeCall(IRegistry.batch, (own, root)));
        vm.assertEq(read, abi.encode(1, 1, 5, 0, DEADLINE - 9, DEADLINE + 9, 550, 1, 0), "record");
        for (uint256 i = 0; i < 5; i++) {
            assertState(idOf(ps[i]), State.NONE);
            assertSeen(ps, i, Role.HOME, State.LOCKED);
        }
    }

    function test_repeated_batch_does_nothing() public {
        Publication[] memory ps = homeBatch(3);
        bytes32 root = lockAll(ps);
        expectUntouched(batchCall(ps));
        vm.warp(DEADLINE + 1);
        expectUntouched(batchCall(ps));
        vm.assertEq(lockAll(ps), root, "root");
    }

    function test_other_order_is_another_batch_of_known_publications() public {
        Publication[] memory ps = homeBatch(2);
        lockAll(ps);
        (ps[0], ps[1]) = (ps[1], ps[0]);
        _refuseItem(ps, signAll(ps), 0, Refusals.KNOWN_PUBLICATION);
    }

    function test_rejects_empty_long_and_unmatched_batches() public {
        Publication[] memory ps = homeBatch(257);
        bytes memory long = abi.encodeWithSelector(BatchTooLong.selector, 256, 257);
        expectRefusal(abi.encodeCall(IRegistry.lockBatch, (ps, new bytes[](0))), long);
        bytes memory empty = abi.encodeWithSelector(EmptyBatch.selector);
        expectRefusal(abi.encodeCall(IRegistry.lockBatch, (new Publication[](0), new bytes[](1))), empty);
        bytes memory unmatched = abi.encodeWithSelector(BadEncoding.selector);
        expectRefusal(abi.encodeCall(IRegistry.lockBatch, (homeBatch(2), new bytes[](1))), unmatched);
        expectRefusal(abi.encodeCall(IRegistry.lockBatch, (homeBatch(2), new bytes[](3))), unmatched);
    }

    function test_rejects_items_that_their_publisher_did_not_sign() public {
        Publication[] memory ps = homeBatch(3);
        bytes[] memory signatures = signAll(ps);
        bytes memory good = signatures[2];
        signatures[2] = sign(STRANGER, wire.hash(ps[2]));
        // Whatever else is wrong, also in the items before.
        ps[0].home = other;
        signatures[0] = sign(PUBLISHER, wire.hash(ps[0]));
        _refuseItem(ps, signatures, 2, Refusals.WRONG_SIGNER);
        signatures[2] = highS(good);
        _refuseItem(ps, signatures, 2, Refusals.HIGH_S);
        (bytes32 r, bytes32 s, uint8 v) = split(good);
        bytes[5] memory bad = [
            bytes(""),
            abi.encodePacked(r, s),
            abi.encodePacked(good, uint8(0)),
            abi.encodePacked(r, s, v - 27),
            abi.encodePacked(bytes32(0), s, v)
        ];
        for (uint256 i = 0; i < bad.length; i++) {
            signatures[2] = bad[i];
            _refuseItem(ps, signatures, 2, Refusals.BAD_SIGNATURE);
        }
    }

    function test_rejects_items_of_other_registries() public {
        Publication[] memory ps = homeBatch(3);
        ps[1].home = third;
        _refuseItem(ps, Refusals.NOT_HOME);
        ps[1].home = own;
        ps[1].mirrors = lanes(third);
        _refuseItem(ps, Refusals.BAD_MIRRORS);
        ps[1].mirrors = lanes(other, third);
        _refuseItem(ps, Refusals.BAD_MIRRORS);
        ps[1].mirrors = new Lane[](0);
        _refuseItem(ps, Refusals.BAD_MIRRORS);
    }

    function test_rejects_batches_of_unlawful_mirrors() public {
        Lane[][3] memory unlawful = [new Lane[](0), lanes(other, other), lanes(own)];
        for (uint256 i = 0; i < 3; i++) {
            Publication[] memory ps = homeBatch(2);
            (ps[0].mirrors, ps[1].mirrors) = (unlawful[i], unlawful[i]);
            _refuseItem(ps, signAll(ps), 0, Refusals.BAD_MIRRORS);
        }
    }

    function test_rejects_items_for_permanent_reasons() public {
        for (uint256 i = 0; i < 8; i++) {
            Publication[] memory ps = homeBatch(3);
            uint16 code = _spoil(ps[1], i);
            _refuseItem(ps, code);
        }
    }

    function _spoil(Publication memory p, uint256 which) private pure returns (uint16) {
        if (which == 0) p.format = 2;
        if (which == 1) p.kind = 3;
        if (which == 2) p.name = "-model";
        if (which == 3) p.version = 0;
        if (which == 4) p.ciphertext.codec = 0x71;
        if (which == 5) p.policyHash = keccak256("closed");
        if (which == 6) p.terms.price = 1;
        if (which == 7) p.extensionHash = keccak256("more");
        return [400, 401, 402, 403, 408, 404, 405, 406][which];
    }

    function test_rejects_items_by_their_terms() public {
        Publication[] memory ps = homeBatch(3);
        ps[1].deadline = NOW - 1;
        _refuseItem(ps, Refusals.PAST_DEADLINE);
        ps[1].deadline = NOW + 2 * WINDOW - 1;
        _refuseItem(ps, Refusals.NEAR_DEADLINE);
        (ps[1].deadline, ps[1].deposit) = (DEADLINE, MIN_DEPOSIT - 1);
        _refuseItem(ps, Refusals.SMALL_DEPOSIT);
        // 100 are gone for the item before.
        ps[1].deposit = OPENING - MIN_DEPOSIT + 1;
        _refuseItem(ps, Refusals.LOW_BALANCE);
        ps[1].deposit = OPENING - 2 * MIN_DEPOSIT;
        lockAll(ps);
        vm.assertEq(registry.balance(ps[0].publisher), 0, "balance");
    }

    function test_rejects_used_nonces_and_names() public {
        Publication[] memory ps = homeBatch(3);
        ps[1].nonce = ps[0].nonce;
        _refuseItem(ps, Refusals.NONCE_USED);
        (ps[1].nonce, ps[1].name) = (freshNonce(), ps[0].name);
        _refuseItem(ps, Refusals.NAME_TAKEN);
        ps[1].version = 257;
        lockAll(ps);
        Publication[] memory next = homeBatch(2);
        (next[0].name, next[1].name, next[1].nonce) = ("fresh", "new", ps[2].nonce);
        _refuseItem(next, Refusals.NONCE_USED);
        (next[1].nonce, next[1].name) = (freshNonce(), ps[2].name);
        _refuseItem(next, Refusals.NAME_TAKEN);
        (next[1].name, next[1].version) = (ps[0].name, 257);
        _refuseItem(next, Refusals.NAME_TAKEN);
        next[1].version = 513;
        lockAll(next);
    }

    function test_rejects_known_publications() public {
        Publication[] memory ps = homeBatch(3);
        lock(ps[1]);
        _refuseItem(ps, Refusals.KNOWN_PUBLICATION);
        ps[1] = ps[0];
        _refuseItem(ps, Refusals.KNOWN_PUBLICATION);
        // Aborted without a lock, so that no nonce tells of it.
        Publication memory late = homeBatch(1)[0];
        (late.deadline, late.name) = (NOW - 1, "late");
        registry.abortUnlocked(late, sign(PUBLISHER, wire.hash(late)));
        ps[1] = late;
        _refuseItem(ps, Refusals.KNOWN_PUBLICATION);
        ps[1].nonce = freshNonce();
        _refuseItem(ps, Refusals.PAST_DEADLINE);
    }

    function test_publications_in_a_batch_are_locked() public {
        Publication[] memory ps = homeBatch(2);
        lockAll(ps);
        expectUntouched(abi.encodeCall(IRegistry.lockModel, (ps[0], sign(PUBLISHER, wire.hash(ps[0])))));
        vm.warp(DEADLINE + 1);
        bytes memory call = abi.encodeCall(IRegistry.abortUnlocked, (ps[0], sign(PUBLISHER, wire.hash(ps[0]))));
        expectRefusal(call, abi.encodeWithSelector(InBatch.selector));
    }

    function test_pause_refuses_new_batches_and_answers() public {
        Publication[] memory ps = homeBatch(2);
        lockAll(ps);
        Pause memory order = Pause(own, 1, 1);
        registry.pause(order, signOrder(wire.hashPause(order), 2));
        expectUntouched(batchCall(ps));
        bytes memory paused = abi.encodeWithSelector(Paused.selector);
        Publication[] memory next = homeBatch(2);
        expectRefusal(batchCall(next), paused);
        // What a publisher did not sign is found before that.
        bytes[] memory signatures = signAll(next);
        signatures[1] = signatures[0];
        _refuseItem(next, signatures, 1, Refusals.WRONG_SIGNER);
        expectRefusal(abi.encodeCall(IRegistry.answerBatch, (other, "root")), paused);
    }

    // --- answers, at home

    function test_last_answer_commits() public {
        Publication[] memory ps = batchOf(3, own, lanes(other, third));
        bytes32 root = lockAll(ps);
        applied(other, batchAnswer(root, 1));
        assertBatch(own, root, State.LOCKED);
        ignored(other, batchAnswer(root, 1));
        vm.warp(DEADLINE);
        bytes memory body = abi.encode(State.COMMITTED, uint16(0), uint16(3), uint256(0));
        vm.expectEmit();
        emit IRegistry.Emitted(2, 1, Kind.BATCH_OUTCOME, lanes(other, third), root, body);
        Event[] memory events = new Event[](1);
        events[0] = batchAnswer(root, 1);
        (Certificate memory certificate, Item[] memory items, bytes32[] memory proof) = run(third, 9, events);
        registry.applyRun(certificate, items, proof);
        assertBatch(own, root, State.COMMITTED);
        assertSeen(ps, 2, Role.HOME, State.COMMITTED);
        ignored(other, batchAnswer(root, 1));
        expectRefusal(
            abi.encodeCall(IRegistry.abortBatch, (root)), abi.encodeWithSelector(NotLocked.selector, State.COMMITTED)
        );
    }

    function test_answers_without_a_say_are_refused() public {
        bytes32 root = lockAll(homeBatch(2));
        refused(third, batchAnswer(root, 1), Refusals.WRONG_AUTHORITY);
        Event memory e = batchAnswer(root, 1);
        e.body = abi.encode(uint16(1), third);
        refused(other, e, Refusals.WRONG_AUTHORITY);
        e.body = abi.encode(uint256(65_536), own);
        refused(other, e, Refusals.BAD_BODY);
        e.body = bytes.concat(abi.encode(uint16(1), own), hex"00");
        refused(other, e, Refusals.BAD_BODY);
        vm.warp(DEADLINE + 1);
        refused(other, batchAnswer(root, 1), Refusals.PAST_DEADLINE);
        refused(other, batchAnswer(root, 2), Refusals.PAST_DEADLINE);
        registry.abortBatch(root);
        refused(other, batchAnswer(root, 1), Refusals.ALREADY_DECIDED);
    }

    function test_other_rules_abort() public {
        Publication[] memory ps = batchOf(2, own, lanes(other, third));
        bytes32 root = lockAll(ps);
        applied(third, batchAnswer(root, 0));
        assertBatch(own, root, State.ABORTED);
        (,,,,,, uint128 deposits, uint8 awaited, uint8 reason) = registry.batch(own, root);
        vm.assertEq(deposits, 2 * MIN_DEPOSIT, "deposits stay until ids are taken out");
        vm.assertEq(awaited, 1, "awaited");
        vm.assertEq(reason, uint8(AbortReason.MIRROR_REFUSED), "reason");
        refused(other, batchAnswer(root, 1), Refusals.ALREADY_DECIDED);
        takeOut(ps, 1);
        vm.assertEq(registry.balance(ps[0].publisher), OPENING - MIN_DEPOSIT, "balance");
    }

    function test_early_answers_count_at_the_lock_and_the_first_stays() public {
        Publication[] memory ps = homeBatch(2);
        bytes32 root = rootOfBatch(ps);
        pending(third, batchAnswer(root, 2));
        pending(other, batchAnswer(root, 1));
        pending(other, batchAnswer(root, 2));
        // A publication's answer of the same subject is none.
        pending(other, answer(Kind.REFUSED, root));
        lockAll(ps);
        assertBatch(own, root, State.COMMITTED);
        vm.assertEq(registry.eventCount(), 2, "locked and decided");
        ignored(other, batchAnswer(root, 1));
        ps = homeBatch(2);
        (ps[0].name, ps[1].name) = ("one", "two");
        root = rootOfBatch(ps);
        pending(other, batchAnswer(root, 2));
        lockAll(ps);
        assertBatch(own, root, State.ABORTED);
    }

    // --- abort

    function test_abort_after_the_latest_deadline() public {
        Publication[] memory ps = homeBatch(2);
        ps[0].deadline = DEADLINE + 5;
        bytes memory unknown = abi.encodeWithSelector(UnknownBatch.selector, rootOfBatch(ps));
        bytes memory call = abi.encodeCall(IRegistry.abortBatch, (rootOfBatch(ps)));
        expectRefusal(call, unknown);
        bytes32 root = lockAll(ps);
        vm.warp(DEADLINE + 5);
        expectRefusal(call, abi.encodeWithSelector(DeadlineNotPassed.selector, DEADLINE + 5, DEADLINE + 5));
        vm.warp(DEADLINE + 6);
        bytes memory body = abi.encode(State.ABORTED, uint16(1), uint16(2), uint256(0));
        vm.expectEmit();
        emit IRegistry.Emitted(2, 1, Kind.BATCH_OUTCOME, lanes(other), root, body);
        registry.abortBatch(root);
        assertSeen(ps, 0, Role.HOME, State.ABORTED);
        expectUntouched(call);
    }

    function test_batches_of_other_homes_cannot_be_aborted() public {
        bytes32 root = rootOfBatch(mirrorBatch(2));
        registry.answerBatch(other, root);
        bytes memory unknown = abi.encodeWithSelector(UnknownBatch.selector, root);
        expectRefusal(abi.encodeCall(IRegistry.abortBatch, (root)), unknown);
    }

    // --- mirror

    function test_mirror_answers_once() public {
        bytes32 root = rootOfBatch(mirrorBatch(2));
        vm.expectEmit();
        emit IRegistry.Emitted(1, 1, Kind.BATCH_ANSWERED, lanes(other), root, abi.encode(uint16(1), other));
        registry.answerBatch(other, root);
        assertBatch(other, root, State.LOCKED);
        assertBatch(third, root, State.NONE);
        expectUntouched(abi.encodeCall(IRegistry.answerBatch, (other, root)));
        bytes memory call = abi.encodeCall(IRegistry.answerBatch, (own, root));
        expectRefusal(call, abi.encodeWithSelector(OwnEvents.selector));
        call = abi.encodeCall(IRegistry.answerBatch, (other, 0));
        expectRefusal(call, abi.encodeWithSelector(ZeroRoot.selector));
    }

    function test_mirror_follows_home() public {
        Publication[] memory ps = mirrorBatch(2);
        bytes32 root = rootOfBatch(ps);
        registry.answerBatch(other, root);
        assertSeen(ps, 0, Role.MIRROR, State.LOCKED);
        applied(other, batchOutcome(root, State.COMMITTED, 2, 2));
        assertSeen(ps, 0, Role.MIRROR, State.COMMITTED);
        assertSeen(ps, 1, Role.MIRROR, State.NONE);
        ignored(other, batchOutcome(root, State.COMMITTED, 2, 0));
        refused(other, batchOutcome(root, State.ABORTED, 2, 0), Refusals.ALREADY_DECIDED);
        // Another registry's word about the same root is about another batch.
        applied(third, batchOutcome(root, State.ABORTED, 2, 0));
        assertBatch(other, root, State.COMMITTED);
        (, bytes memory read) = address(registry).staticcall(abi.encodeCall(IRegistry.batch, (third, root)));
        vm.assertEq(read, abi.encode(2, 3, 2, 0, 0, 0, 0, 0, 1), "record");
        expectUntouched(abi.encodeCall(IRegistry.answerBatch, (third, root)));
    }

    function test_odd_outcomes_are_refused() public {
        uint256[4][8] memory bodies = [
            [uint256(1), 0, 2, 0],
            [uint256(4), 0, 2, 0],
            [uint256(256), 0, 2, 0],
            [uint256(2), 4, 2, 0],
            [uint256(2), 65_536, 2, 0],
            [uint256(2), 0, 0, 0],
            [uint256(2), 0, 257, 0],
            [uint256(2), 0, 65_538, 0]
        ];
        Event memory e = batchOutcome("root", State.COMMITTED, 2, 0);
        for (uint256 i = 0; i < bodies.length; i++) {
            e.body = abi.encode(bodies[i]);
            refused(other, e, Refusals.BAD_BODY);
        }
        e.body = abi.encode(2, 0, 2);
        refused(other, e, Refusals.BAD_BODY);
        e.body = abi.encode(2, 0, 2, 0, 0);
        refused(other, e, Refusals.BAD_BODY);
        assertBatch(other, "root", State.NONE);
        e.body = abi.encode(2, 3, 256, type(uint256).max);
        applied(other, e);
        ignored(other, Event(1, Kind.BATCH_LOCKED, lanes(own), "root", abi.encode(uint16(2))));
    }
}
