// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/Records.sol";
import {
    AlreadyDecided,
    Expired,
    HighS,
    NonceUsed,
    NotCommitted,
    Refusals,
    UnknownPublication,
    WrongRegistry,
    WrongSigner
} from "../src/libs/Errors.sol";
import {Carrier} from "./support/Carrier.sol";
import {IRegistry} from "./support/IRegistry.sol";

/// @notice Taking publications back: here by their publisher's signature, elsewhere by the event (spec 30 §3).
contract RevocationsTest is Carrier {
    function _committed() private returns (bytes32 id) {
        id = lock(homePublication());
        carryNext(other, answer(Kind.LOCKED, id), Disposition.APPLIED, 0);
    }

    function _refuses(Revocation memory r, bytes memory refusal) private {
        expectRefusal(abi.encodeCall(IRegistry.revoke, (r, sign(PUBLISHER, wire.hash(r)))), refusal);
    }

    // --- where the signature is given

    function test_committed_home_gives_the_deposit_back_and_tells_the_mirrors() public {
        bytes32 id = _committed();
        Revocation memory r = revocation(id);
        vm.expectEmit();
        emit IRegistry.Emitted(3, 1, Kind.REVOKED, lanes(other), id, abi.encode(uint16(7), own));
        registry.revoke(r, sign(PUBLISHER, wire.hash(r)));
        assertState(id, State.REVOKED);
        vm.assertEq(registry.balance(vm.addr(PUBLISHER)), OPENING, "deposit");
        expectUntouched(abi.encodeCall(IRegistry.revoke, (r, sign(PUBLISHER, wire.hash(r)))));
        Revocation memory again = revocation(id);
        expectUntouched(abi.encodeCall(IRegistry.revoke, (again, sign(PUBLISHER, wire.hash(again)))));
    }

    function test_mirror_tells_home_and_the_other_mirrors() public {
        Publication memory p = mirrorPublication();
        p.mirrors = own.chain > third.chain ? lanes(third, own) : lanes(own, third);
        bytes32 id = lock(p);
        Revocation memory r = revocation(id);
        vm.expectEmit();
        emit IRegistry.Emitted(2, 1, Kind.REVOKED, lanes(other, third), id, abi.encode(uint16(7), own));
        registry.revoke(r, sign(PUBLISHER, wire.hash(r)));
        assertState(id, State.LOCKED);
        vm.assertTrue(registry.isRevoked(id), "it waits");
        applied(other, outcome(id, State.COMMITTED));
        assertState(id, State.REVOKED);
        ignored(other, outcome(id, State.SUPERSEDED));
        refused(other, outcome(id, State.ABORTED), Refusals.ALREADY_DECIDED);
    }

    function test_revoked_while_locked_takes_effect_with_the_commit() public {
        bytes32 id = lock(homePublication());
        revoke(id);
        assertState(id, State.LOCKED);
        vm.assertEq(registry.balance(vm.addr(PUBLISHER)), OPENING - MIN_DEPOSIT, "held until the outcome");
        applied(other, answer(Kind.LOCKED, id));
        assertState(id, State.REVOKED);
        vm.assertEq(registry.balance(vm.addr(PUBLISHER)), OPENING, "deposit");
    }

    function test_what_aborts_stays_aborted() public {
        bytes32 id = lock(homePublication());
        revoke(id);
        vm.warp(DEADLINE + 1);
        registry.abort(id);
        assertState(id, State.ABORTED);
        vm.assertEq(registry.balance(vm.addr(PUBLISHER)), OPENING, "deposit");
    }

    function test_superseded_can_be_revoked_and_pays_once() public {
        bytes32 low = _committed();
        Publication memory p = homePublication();
        p.version = 2;
        bytes32 high = lock(p);
        applied(other, answer(Kind.LOCKED, high));
        assertState(low, State.SUPERSEDED);
        revoke(low);
        assertState(low, State.REVOKED);
        assertState(high, State.COMMITTED);
        vm.assertEq(registry.balance(vm.addr(PUBLISHER)), OPENING - MIN_DEPOSIT, "only the higher one's is held");
    }

    function test_lower_version_does_not_become_the_latest_of_a_revoked_one() public {
        Publication memory p = homePublication();
        p.version = 3;
        bytes32 high = lock(p);
        bytes32 low = lock(homePublication());
        applied(other, answer(Kind.LOCKED, high));
        revoke(high);
        applied(other, answer(Kind.LOCKED, low));
        assertState(low, State.SUPERSEDED);
        assertState(high, State.REVOKED);
        p = homePublication();
        p.version = 4;
        bytes32 highest = lock(p);
        applied(other, answer(Kind.LOCKED, highest));
        assertState(highest, State.COMMITTED);
        assertState(high, State.REVOKED);
        vm.assertEq(registry.balance(vm.addr(PUBLISHER)), OPENING - MIN_DEPOSIT, "deposit");
    }

    function test_rejects_what_is_not_the_publisher_s_word() public {
        bytes32 id = _committed();
        Revocation memory r = revocation(id);
        bytes memory refusal = abi.encodeWithSelector(WrongSigner.selector, vm.addr(PUBLISHER), vm.addr(STRANGER));
        expectRefusal(abi.encodeCall(IRegistry.revoke, (r, sign(STRANGER, wire.hash(r)))), refusal);
        r.publisher = vm.addr(STRANGER);
        expectRefusal(abi.encodeCall(IRegistry.revoke, (r, sign(STRANGER, wire.hash(r)))), refusal);
        r = revocation(id);
        bytes memory high = highS(sign(PUBLISHER, wire.hash(r)));
        expectRefusal(abi.encodeCall(IRegistry.revoke, (r, high)), abi.encodeWithSelector(HighS.selector));
        assertState(id, State.COMMITTED);
    }

    function test_rejects_other_registries_old_and_unknown_ones() public {
        bytes32 id = _committed();
        Revocation memory r = revocation(id);
        r.target = other;
        _refuses(r, abi.encodeWithSelector(WrongRegistry.selector, other.registry, own.registry));
        r = revocation(id);
        r.deadline = NOW - 1;
        _refuses(r, abi.encodeWithSelector(Expired.selector, NOW - 1, NOW));
        r = revocation("nothing");
        _refuses(r, abi.encodeWithSelector(UnknownPublication.selector, bytes32("nothing")));
        Publication memory p = homePublication();
        p.version = 9;
        lock(p);
        r = revocation(id);
        r.nonce = p.nonce;
        _refuses(r, abi.encodeWithSelector(NonceUsed.selector, p.nonce));
        assertState(id, State.COMMITTED);
    }

    function test_rejects_what_aborted_or_was_refused() public {
        bytes32 id = lock(homePublication());
        carryNext(other, answer(Kind.REFUSED, id), Disposition.APPLIED, 0);
        _refuses(revocation(id), abi.encodeWithSelector(AlreadyDecided.selector, uint8(State.ABORTED)));
        Publication memory p = mirrorPublication();
        p.version = 0;
        bytes32 unlawful = lock(p);
        _refuses(revocation(unlawful), abi.encodeWithSelector(AlreadyDecided.selector, uint8(State.REFUSED)));
    }

    function test_rejects_requests_to_what_is_revoked() public {
        bytes32 id = _committed();
        revoke(id);
        Cid memory input = Cid(0x55, keccak256("input"));
        InferenceRequest memory q =
            InferenceRequest(own, id, vm.addr(CONSUMER), input, "in", "client", freshNonce(), NOW);
        bytes memory call = abi.encodeCall(IRegistry.requestInference, (q, sign(CONSUMER, wire.hash(q))));
        expectRefusal(call, abi.encodeWithSelector(NotCommitted.selector, uint8(State.REVOKED)));
    }

    // --- where it is told

    function test_told_revocation_takes_effect_once_and_is_told_no_further() public {
        bytes32 id = _committed();
        uint64 events = registry.eventCount();
        applied(other, revoked(other, id));
        assertState(id, State.REVOKED);
        vm.assertEq(registry.balance(vm.addr(PUBLISHER)), OPENING, "deposit");
        ignored(other, revoked(other, id));
        Revocation memory r = revocation(id);
        expectUntouched(abi.encodeCall(IRegistry.revoke, (r, sign(PUBLISHER, wire.hash(r)))));
        vm.assertEq(registry.eventCount(), events, "told again");
    }

    function test_told_before_the_outcome_it_waits() public {
        bytes32 id = lock(mirrorPublication());
        pending(other, revoked(other, id));
        ignored(other, revoked(other, id));
        assertState(id, State.LOCKED);
        applied(other, outcome(id, State.COMMITTED));
        assertState(id, State.REVOKED);
    }

    function test_told_before_the_lock_it_waits() public {
        Publication memory p = homePublication();
        p.mirrors = lanes(other, third);
        bytes32 id = idOf(p);
        pending(third, revoked(third, id));
        pending(third, answer(Kind.LOCKED, id));
        lock(p);
        assertState(id, State.LOCKED);
        applied(other, answer(Kind.LOCKED, id));
        assertState(id, State.REVOKED);
        Publication memory q = mirrorPublication();
        pending(other, revoked(other, idOf(q)));
        pending(other, outcome(idOf(q), State.COMMITTED));
        assertState(lock(q), State.REVOKED);
    }

    function test_told_by_another_mirror_before_the_lock_it_waits() public {
        Publication memory p = mirrorPublication();
        p.mirrors = own.chain > third.chain ? lanes(third, own) : lanes(own, third);
        pending(third, revoked(third, idOf(p)));
        pending(other, outcome(idOf(p), State.COMMITTED));
        assertState(lock(p), State.REVOKED);
    }

    function test_rejects_the_word_of_other_registries() public {
        bytes32 id = _committed();
        refused(third, revoked(third, id), Refusals.WRONG_AUTHORITY);
        refused(other, revoked(third, id), Refusals.WRONG_AUTHORITY);
        Publication memory p = mirrorPublication();
        pending(third, revoked(third, idOf(p)));
        bytes32 mirrored = lock(p);
        refused(third, revoked(third, mirrored), Refusals.WRONG_AUTHORITY);
        applied(other, outcome(mirrored, State.COMMITTED));
        assertState(id, State.COMMITTED);
        assertState(mirrored, State.COMMITTED);
    }

    function test_rejects_told_revocations_of_what_aborted() public {
        bytes32 id = lock(mirrorPublication());
        applied(other, outcome(id, State.ABORTED));
        refused(other, revoked(other, id), Refusals.ALREADY_DECIDED);
        assertState(id, State.ABORTED);
    }

    function test_rejects_malformed_bodies() public {
        bytes32 id = _committed();
        Event memory e = revoked(other, id);
        e.body = abi.encode(uint256(1) << 16, other);
        refused(other, e, Refusals.BAD_BODY);
        e.body = abi.encode(uint16(7), other, uint256(0));
        refused(other, e, Refusals.BAD_BODY);
        e.body = "";
        refused(other, e, Refusals.BAD_BODY);
    }
}
