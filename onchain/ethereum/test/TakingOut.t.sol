// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/Records.sol";
import "../src/libs/Errors.sol";
import {Batching} from "./support/Batching.sol";
import {IRegistry} from "./support/IRegistry.sol";

/// @notice takeOut and stateIn (spec 37 §4, §5).
contract TakingOutTest is Batching {
    function _committedHome() private returns (Publication[] memory ps, bytes32 root) {
        ps = homeBatch(3);
        root = lockAll(ps);
        applied(other, batchAnswer(root, 1));
    }

    function _committedMirror(uint256 taken) private returns (Publication[] memory ps, bytes32 root) {
        ps = mirrorBatch(3);
        root = rootOfBatch(ps);
        applied(other, batchOutcome(root, State.COMMITTED, 3, taken));
    }

    // What both functions refuse; the batch has three ids.
    function _refuseProofs(Publication[] memory ps, bytes32 root) private {
        BatchProof memory proof = proofOf(ps, 1);
        proof.root = "unknown";
        _refuseBoth(ps, proof, abi.encodeWithSelector(UnknownBatch.selector, bytes32("unknown")));
        proof = proofOf(ps, 1);
        proof.index = 3;
        _refuseBoth(ps, proof, abi.encodeWithSelector(ItemOutOfRun.selector, 3));
        proof.index = type(uint16).max;
        _refuseBoth(ps, proof, abi.encodeWithSelector(ItemOutOfRun.selector, type(uint16).max));
        proof = proofOf(ps, 1);
        proof.siblings = new bytes32[](1);
        _refuseBoth(ps, proof, abi.encodeWithSelector(ProofTooShort.selector));
        proof.siblings = new bytes32[](3);
        _refuseBoth(ps, proof, abi.encodeWithSelector(ProofTooLong.selector));
        // The right path of another id, and the right id at another place.
        proof = proofOf(ps, 0);
        bytes32 actual = wire.pathRoot(3, 0, wire.batchLeaf(0, idOf(ps[1])), proof.siblings);
        _refuseBoth(ps, proof, abi.encodeWithSelector(WrongRoot.selector, root, actual));
    }

    function _refuseBoth(Publication[] memory ps, BatchProof memory proof, bytes memory refusal) private {
        expectRefusal(takeOutCall(ps, 1, proof), refusal);
        expectRefusal(abi.encodeCall(IRegistry.stateIn, (idOf(ps[1]), proof)), refusal);
    }

    // --- refusals

    function test_rejects_wrong_proofs_at_home() public {
        (Publication[] memory ps, bytes32 root) = _committedHome();
        _refuseProofs(ps, root);
    }

    function test_rejects_wrong_proofs_at_a_mirror() public {
        (Publication[] memory ps, bytes32 root) = _committedMirror(0);
        _refuseProofs(ps, root);
    }

    function test_rejects_what_its_publisher_did_not_sign() public {
        (Publication[] memory ps,) = _committedHome();
        bytes memory call = abi.encodeCall(IRegistry.takeOut, (ps[0], sign(STRANGER, wire.hash(ps[0])), proofOf(ps, 0)));
        expectRefusal(call, abi.encodeWithSelector(WrongSigner.selector, ps[0].publisher, vm.addr(STRANGER)));
    }

    function test_rejects_publications_of_other_registries() public {
        Publication[] memory ps = batchOf(1, other, lanes(third));
        applied(other, batchOutcome(rootOfBatch(ps), State.COMMITTED, 1, 0));
        bytes memory refusal = abi.encodeWithSelector(WrongRegistry.selector, other.registry, own.registry);
        expectRefusal(takeOutCall(ps, 0), refusal);
    }

    function test_rejects_batches_of_another_home() public {
        Publication[] memory ps = mirrorBatch(2);
        applied(third, batchOutcome(rootOfBatch(ps), State.COMMITTED, 2, 0));
        BatchProof memory proof = proofOf(ps, 0);
        proof.home = third;
        expectRefusal(takeOutCall(ps, 0, proof), abi.encodeWithSelector(WrongAuthority.selector));
    }

    function test_mirror_waits_for_home() public {
        Publication[] memory ps = mirrorBatch(2);
        registry.answerBatch(other, rootOfBatch(ps));
        expectRefusal(takeOutCall(ps, 0), abi.encodeWithSelector(NotDecided.selector));
    }

    function test_mirror_does_not_take_out_what_home_took() public {
        (Publication[] memory ps,) = _committedMirror(2);
        expectRefusal(takeOutCall(ps, 1), abi.encodeWithSelector(TakenOut.selector));
        assertSeen(ps, 1, Role.MIRROR, State.NONE);
        // It has its own outcome and is locked alone.
        bytes32 id = lock(ps[1]);
        assertSeen(ps, 1, Role.MIRROR, State.LOCKED);
        applied(other, outcome(id, State.ABORTED));
        assertSeen(ps, 1, Role.MIRROR, State.ABORTED);
        assertState(takeOut(ps, 0), State.COMMITTED);
    }

    function test_home_waits_for_the_earliest_deadline() public {
        Publication[] memory ps = homeBatch(2);
        ps[1].deadline = DEADLINE + 50;
        lockAll(ps);
        vm.warp(DEADLINE);
        expectRefusal(takeOutCall(ps, 1), abi.encodeWithSelector(DeadlineNotPassed.selector, DEADLINE, DEADLINE));
    }

    // --- home

    function test_out_of_an_undecided_batch() public {
        Publication[] memory ps = homeBatch(3);
        ps[1].deadline = DEADLINE + 50;
        bytes32 root = lockAll(ps);
        bytes32 early = idOf(ps[0]);
        pending(other, answer(Kind.LOCKED, early));
        vm.warp(DEADLINE + 1);
        uint64 next = registry.eventCount() + 1;
        vm.expectEmit();
        emit IRegistry.Emitted(next, 1, Kind.LOCKED, lanes(other), early, abi.encode(Role.HOME, own));
        vm.expectEmit();
        emit IRegistry.Emitted(next + 1, 1, Kind.OUTCOME, lanes(other), early, abi.encode(State.ABORTED, uint16(1)));
        takeOut(ps, 0);
        expectUntouched(takeOutCall(ps, 0));
        assertState(early, State.ABORTED);
        // The answer was taken, so that another one is no news.
        ignored(other, answer(Kind.LOCKED, early));
        bytes32 id = takeOut(ps, 1);
        assertState(id, State.LOCKED);
        (,, uint16 count, uint256 taken,,, uint128 deposits,,) = registry.batch(own, root);
        vm.assertEq(taken, 3, "taken");
        vm.assertEq(count, 3, "count");
        vm.assertEq(deposits, MIN_DEPOSIT, "deposits");
        vm.assertEq(registry.balance(ps[0].publisher), OPENING - 2 * MIN_DEPOSIT, "one came back");
        applied(other, answer(Kind.LOCKED, id));
        assertState(id, State.COMMITTED);
        vm.warp(DEADLINE + 51);
        bytes memory body = abi.encode(State.ABORTED, uint16(1), uint16(3), uint256(3));
        vm.expectEmit();
        emit IRegistry.Emitted(registry.eventCount() + 1, 1, Kind.BATCH_OUTCOME, lanes(other), root, body);
        registry.abortBatch(root);
        assertSeen(ps, 1, Role.HOME, State.COMMITTED);
        assertState(takeOut(ps, 2), State.ABORTED);
        vm.assertEq(registry.balance(ps[0].publisher), OPENING - MIN_DEPOSIT, "two came back");
        (,,,,,, deposits,,) = registry.batch(own, root);
        vm.assertEq(deposits, 0, "deposits");
    }

    function test_early_answers_decide_what_is_taken_out() public {
        Publication[] memory ps = batchOf(3, own, lanes(other, third));
        for (uint256 i = 1; i < 3; i++) {
            ps[i].deadline = DEADLINE + 50;
        }
        lockAll(ps);
        pending(other, answer(Kind.LOCKED, idOf(ps[1])));
        pending(third, answer(Kind.LOCKED, idOf(ps[1])));
        pending(third, answer(Kind.REFUSED, idOf(ps[2])));
        vm.warp(DEADLINE + 1);
        assertState(takeOut(ps, 1), State.COMMITTED);
        assertState(takeOut(ps, 2), State.ABORTED);
        (,,,,,,,,, uint8 awaited, uint8 reason) = registry.publication(idOf(ps[2]));
        vm.assertEq(awaited, 1, "awaited");
        vm.assertEq(reason, uint8(AbortReason.MIRROR_REFUSED), "reason");
    }

    function test_out_of_a_committed_batch() public {
        (Publication[] memory ps, bytes32 root) = _committedHome();
        uint64 events = registry.eventCount();
        bytes32 id = takeOut(ps, 1);
        assertState(id, State.COMMITTED);
        (,,,, uint64 version,,, uint128 deposit,, uint8 awaited,) = registry.publication(id);
        vm.assertEq(version, 1, "version");
        vm.assertEq(deposit, MIN_DEPOSIT, "deposit");
        vm.assertEq(awaited, 0, "awaited");
        vm.assertEq(registry.eventCount(), events, "home has told it as a batch");
        (,,, uint256 taken,,, uint128 deposits,,) = registry.batch(own, root);
        vm.assertEq(taken, 0, "taken before the decision");
        vm.assertEq(deposits, 2 * MIN_DEPOSIT, "deposits");
        revoke(id);
        assertSeen(ps, 1, Role.HOME, State.REVOKED);
        vm.assertEq(registry.balance(ps[0].publisher), OPENING - 2 * MIN_DEPOSIT, "deposit back");
    }

    function test_versions_meet_when_they_are_taken_out() public {
        Publication[] memory ps = homeBatch(3);
        for (uint64 i = 0; i < 3; i++) {
            (ps[i].name, ps[i].version) = ("digits", i + 1);
        }
        bytes32 root = lockAll(ps);
        applied(other, batchAnswer(root, 1));
        takeOut(ps, 1);
        assertState(takeOut(ps, 0), State.SUPERSEDED);
        assertState(takeOut(ps, 2), State.COMMITTED);
        assertState(idOf(ps[1]), State.SUPERSEDED);
        vm.assertEq(registry.balance(ps[0].publisher), OPENING - MIN_DEPOSIT, "two deposits back");
    }

    function test_revocations_wait_at_home() public {
        (Publication[] memory ps,) = _committedHome();
        bytes32 id = idOf(ps[1]);
        pending(third, revoked(third, id));
        assertSeen(ps, 1, Role.HOME, State.COMMITTED);
        pending(other, revoked(other, id));
        assertSeen(ps, 1, Role.HOME, State.REVOKED);
        vm.assertTrue(!registry.isRevoked(id), "there is no record yet");
        assertState(takeOut(ps, 1), State.REVOKED);
        vm.assertTrue(registry.isRevoked(id), "known");
        vm.assertEq(registry.balance(ps[0].publisher), OPENING - 2 * MIN_DEPOSIT, "deposit back");
    }

    function test_revocations_do_not_meet_an_aborted_batch() public {
        Publication[] memory ps = homeBatch(1);
        bytes32 root = lockAll(ps);
        pending(other, revoked(other, idOf(ps[0])));
        vm.warp(DEADLINE + 1);
        registry.abortBatch(root);
        assertSeen(ps, 0, Role.HOME, State.ABORTED);
        assertState(takeOut(ps, 0), State.ABORTED);
        vm.assertTrue(!registry.isRevoked(idOf(ps[0])), "revoked");
    }

    // --- mirror

    function test_out_of_a_batch_at_a_mirror() public {
        (Publication[] memory ps,) = _committedMirror(0);
        uint64 events = registry.eventCount();
        bytes32 id = takeOut(ps, 2);
        assertState(id, State.COMMITTED);
        expectUntouched(takeOutCall(ps, 2));
        vm.assertEq(registry.eventCount(), events, "no event");
        vm.assertEq(registry.balance(ps[0].publisher), OPENING, "no deposit");
        applied(other, outcome(id, State.SUPERSEDED));
        assertSeen(ps, 2, Role.MIRROR, State.SUPERSEDED);
    }

    function test_single_locks_give_way_to_the_batch() public {
        Publication[] memory ps = mirrorBatch(2);
        bytes32 id = lock(ps[0]);
        applied(other, batchOutcome(rootOfBatch(ps), State.ABORTED, 2, 0));
        assertState(id, State.LOCKED);
        assertSeen(ps, 0, Role.MIRROR, State.ABORTED);
        takeOut(ps, 0);
        assertState(id, State.ABORTED);
    }

    function test_revoked_single_locks_give_way_to_the_batch() public {
        Publication[] memory ps = mirrorBatch(2);
        bytes32 id = lock(ps[0]);
        pending(other, revoked(other, id));
        applied(other, batchOutcome(rootOfBatch(ps), State.COMMITTED, 2, 0));
        assertSeen(ps, 0, Role.MIRROR, State.REVOKED);
        takeOut(ps, 0);
        assertState(id, State.REVOKED);
    }

    function test_early_words_take_effect_at_a_mirror() public {
        Publication[] memory ps = batchOf(3, other, lanes(third, own));
        if (bytes32(own.chain) < third.chain) (ps[0].mirrors, ps[1].mirrors, ps[2].mirrors) = _sorted();
        bytes32 root = rootOfBatch(ps);
        Event memory e = batchOutcome(root, State.COMMITTED, 3, 0);
        e.destinations = ps[0].mirrors;
        applied(other, e);
        pending(other, outcome(idOf(ps[0]), State.SUPERSEDED));
        pending(third, revoked(third, idOf(ps[1])));
        assertSeen(ps, 0, Role.MIRROR, State.SUPERSEDED);
        assertSeen(ps, 1, Role.MIRROR, State.REVOKED);
        assertSeen(ps, 2, Role.MIRROR, State.COMMITTED);
        assertState(takeOut(ps, 0), State.SUPERSEDED);
        assertState(takeOut(ps, 1), State.REVOKED);
        assertState(takeOut(ps, 2), State.COMMITTED);
    }

    function _sorted() private view returns (Lane[] memory, Lane[] memory, Lane[] memory) {
        return (lanes(own, third), lanes(own, third), lanes(own, third));
    }

    // --- proofs

    function test_every_place_of_every_width() public view {
        for (uint256 width = 1; width <= 20; width++) {
            bytes32[] memory leaves = new bytes32[](width);
            for (uint256 i = 0; i < width; i++) {
                leaves[i] = keccak256(abi.encode(width, i));
            }
            bytes32 root = rootOf(leaves);
            vm.assertEq(wire.merkleRoot(leaves), root, "root");
            for (uint256 i = 0; i < width; i++) {
                bytes32[] memory siblings = siblingsOf(leaves, i);
                vm.assertEq(wire.pathRoot(width, i, leaves[i], siblings), root, "path");
                vm.assertEq(wire.multiproofRoot(width, i, leaves[i], siblings), root, "multiproof");
            }
        }
    }
}
