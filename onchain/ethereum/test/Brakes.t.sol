// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/Records.sol";
import {
    BadGovernance,
    CapReached,
    LaneDropped,
    NotPaused,
    NotRoot,
    Paused,
    Refusals,
    TooEarly,
    TooFewSignatures,
    WrongCounter,
    WrongEpoch,
    WrongGeneration,
    WrongRegistry,
    WrongSigner
} from "../src/libs/Errors.sol";
import {Carrier} from "./support/Carrier.sol";
import {IRegistry} from "./support/IRegistry.sol";

/// @notice Pause, resume, cap and governance of lanes (spec 35). The vectors play the same on all ledgers.
contract BrakesTest is Carrier {
    function _pauseOrder(uint64 counter) private view returns (Pause memory) {
        return Pause(own, 1, counter);
    }

    function _pause(uint64 counter) private {
        Pause memory order = _pauseOrder(counter);
        registry.pause(order, signOrder(wire.hashPause(order), 2));
    }

    function _resumeCall(uint64 counter) private view returns (bytes memory) {
        Resume memory order = Resume(own, 1, counter);
        return abi.encodeCall(IRegistry.resume, (order, signOrder(wire.hashResume(order), 3)));
    }

    function _refusesPause(Pause memory order, uint8 signers, bytes memory refusal) private {
        expectRefusal(abi.encodeCall(IRegistry.pause, (order, signOrder(wire.hashPause(order), signers))), refusal);
    }

    // --- pause and resume

    function test_pause_stops_what_begins() public {
        Publication memory before = homePublication();
        lock(before);
        vm.expectEmit();
        emit IRegistry.Braked(1, true);
        _pause(1);
        bytes memory refusal = abi.encodeWithSelector(Paused.selector);
        expectUntouched(abi.encodeCall(IRegistry.lockModel, (before, sign(PUBLISHER, wire.hash(before)))));
        Publication memory p = homePublication();
        p.version = 2;
        expectRefusal(abi.encodeCall(IRegistry.lockModel, (p, sign(PUBLISHER, wire.hash(p)))), refusal);
        p = mirrorPublication();
        expectRefusal(abi.encodeCall(IRegistry.lockModel, (p, sign(PUBLISHER, wire.hash(p)))), refusal);
        Withdrawal memory w = Withdrawal(own, vm.addr(PUBLISHER), vm.addr(STRANGER), 1, freshNonce(), DEADLINE);
        expectRefusal(abi.encodeCall(IRegistry.withdraw, (w, sign(PUBLISHER, wire.hash(w)))), refusal);
        token.mint(vm.addr(CONSUMER), 5);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(CONSUMER, 5, NOW);
        bytes memory call = abi.encodeCall(IRegistry.fundWithPermit, (vm.addr(CONSUMER), 5, NOW, v, r, s));
        expectRefusal(call, refusal);
        InferenceRequest memory q =
            InferenceRequest(own, idOf(before), vm.addr(CONSUMER), Cid(0x55, "i"), "in", "client", freshNonce(), NOW);
        call = abi.encodeCall(IRegistry.requestInference, (q, sign(CONSUMER, wire.hash(q))));
        expectRefusal(call, refusal);
    }

    function test_what_began_goes_on() public {
        bytes32 id = lock(homePublication());
        bytes32 mirrored = lock(mirrorPublication());
        _pause(1);
        applied(other, answer(Kind.LOCKED, id));
        applied(other, outcome(mirrored, State.COMMITTED));
        revoke(id);
        assertState(id, State.REVOKED);
        assertState(mirrored, State.COMMITTED);
    }

    function test_resume_waits_for_the_delay() public {
        expectRefusal(_resumeCall(1), abi.encodeWithSelector(NotPaused.selector));
        _pause(1);
        vm.warp(NOW + 99);
        expectRefusal(_resumeCall(2), abi.encodeWithSelector(TooEarly.selector, NOW + 100, NOW + 99));
        vm.warp(NOW + 100);
        (bool ok,) = address(registry).call(_resumeCall(2));
        vm.assertTrue(ok, "resume");
        expectUntouched(_resumeCall(2));
        lock(homePublication());
    }

    function test_repeated_pause_does_nothing_and_another_begins_anew() public {
        _pause(1);
        vm.warp(NOW + 50);
        Pause memory order = _pauseOrder(1);
        expectUntouched(abi.encodeCall(IRegistry.pause, (order, signOrder(wire.hashPause(order), 3))));
        _pause(2);
        vm.warp(NOW + 149);
        expectRefusal(_resumeCall(2), abi.encodeWithSelector(WrongCounter.selector, 3, 2));
        expectRefusal(_resumeCall(3), abi.encodeWithSelector(TooEarly.selector, NOW + 150, NOW + 149));
    }

    function test_rejects_orders_that_are_none() public {
        _refusesPause(_pauseOrder(1), 1, abi.encodeWithSelector(TooFewSignatures.selector, 2, 1));
        _refusesPause(_pauseOrder(0), 2, abi.encodeWithSelector(WrongCounter.selector, 1, 0));
        _refusesPause(_pauseOrder(2), 2, abi.encodeWithSelector(WrongCounter.selector, 1, 2));
        Pause memory order = _pauseOrder(1);
        order.epoch = 2;
        _refusesPause(order, 2, abi.encodeWithSelector(WrongEpoch.selector, 1, 2));
        order = Pause(other, 1, 1);
        _refusesPause(order, 2, abi.encodeWithSelector(WrongRegistry.selector, other.registry, own.registry));
        order = _pauseOrder(1);
        Signature[] memory signatures = signOrder(wire.hashPause(order), 2);
        signatures[1].signer = 3;
        bytes memory refusal =
            abi.encodeWithSelector(WrongSigner.selector, vm.addr(FIRST_VALIDATOR + 3), vm.addr(FIRST_VALIDATOR + 1));
        expectRefusal(abi.encodeCall(IRegistry.pause, (order, signatures)), refusal);
        Resume memory resumption = Resume(own, 1, 1);
        signatures = signOrder(wire.hashResume(resumption), 2);
        refusal = abi.encodeWithSelector(TooFewSignatures.selector, 3, 2);
        expectRefusal(abi.encodeCall(IRegistry.resume, (resumption, signatures)), refusal);
        (bool paused, uint64 counter,,,,) = registry.brakes();
        vm.assertTrue(!paused && counter == 0, "brakes");
    }

    // --- cap

    function test_withdrawals_end_at_the_cap() public {
        withdrawalCap = 500;
        begin();
        Withdrawal memory w = Withdrawal(own, vm.addr(PUBLISHER), vm.addr(STRANGER), 400, freshNonce(), DEADLINE);
        registry.withdraw(w, sign(PUBLISHER, wire.hash(w)));
        w.nonce = freshNonce();
        w.amount = 101;
        bytes memory call = abi.encodeCall(IRegistry.withdraw, (w, sign(PUBLISHER, wire.hash(w))));
        expectRefusal(call, abi.encodeWithSelector(CapReached.selector, 500, 501));
        w.amount = 100;
        registry.withdraw(w, sign(PUBLISHER, wire.hash(w)));
        (,,,, uint128 cap, uint128 withdrawn) = registry.brakes();
        vm.assertTrue(cap == 500 && withdrawn == 500, "withdrawn");
    }

    // --- governance

    function _order(uint8 action, uint64 version, uint64 generation) private view returns (Governance memory g) {
        bool resumes = action == Action.RESUME_LANE;
        g = Governance(
            own, 1, action, other, version, generation, resumes ? 77 : 0, resumes ? bytes32("kept") : bytes32(0)
        );
    }

    function _governCall(Governance memory g) private view returns (bytes memory) {
        return abi.encodeCall(IRegistry.govern, (g, signOrder(wire.hash(g), 3)));
    }

    function _told(Lane memory lane, uint8 action, uint64 version, uint64 generation)
        private
        pure
        returns (Event memory)
    {
        bytes memory body = abi.encode(action, lane, version, generation, uint64(7), bytes32("kept"));
        return Event(1, Kind.GOVERNANCE, new Lane[](0), keccak256(abi.encode(lane)), body);
    }

    function test_root_resumes_a_lane_and_tells_all() public {
        bytes32 id = lock(homePublication());
        Governance memory g = _order(Action.RESUME_LANE, 1, 2);
        bytes memory body = abi.encode(Action.RESUME_LANE, other, uint64(1), uint64(2), uint64(77), bytes32("kept"));
        vm.expectEmit();
        emit IRegistry.Emitted(2, 1, Kind.GOVERNANCE, new Lane[](0), keccak256(abi.encode(other)), body);
        registry.govern(g, signOrder(wire.hash(g), 3));
        expectUntouched(_governCall(g));
        Event[] memory events = new Event[](1);
        events[0] = answer(Kind.LOCKED, id);
        (Certificate memory c, Item[] memory items, bytes32[] memory proof) = run(other, 1, events);
        bytes memory refusal = abi.encodeWithSelector(WrongGeneration.selector, 2, 1);
        expectRefusal(abi.encodeCall(IRegistry.applyRun, (c, items, proof)), refusal);
        c.checkpoint.generation = 2;
        registry.applyRun(certify(c.checkpoint), items, proof);
        assertState(id, State.COMMITTED);
        vm.assertTrue(registry.isMarked(other, 2, 1) && !registry.isMarked(other, 1, 1), "marks are per generation");
    }

    function test_root_drops_a_lane_for_good() public {
        bytes32 id = lock(homePublication());
        Governance memory g = _order(Action.DROP_LANE, 1, 1);
        registry.govern(g, signOrder(wire.hash(g), 3));
        Event[] memory events = new Event[](1);
        events[0] = answer(Kind.LOCKED, id);
        (Certificate memory c, Item[] memory items, bytes32[] memory proof) = run(other, 1, events);
        bytes memory refusal = abi.encodeWithSelector(LaneDropped.selector);
        expectRefusal(abi.encodeCall(IRegistry.applyRun, (c, items, proof)), refusal);
        expectRefusal(_governCall(_order(Action.RESUME_LANE, 2, 2)), refusal);
        vm.warp(DEADLINE + 1);
        registry.abort(id);
        assertState(id, State.ABORTED);
    }

    function test_rejects_decisions_that_are_none() public {
        bytes memory bad = abi.encodeWithSelector(BadGovernance.selector);
        Governance memory g = _order(Action.RESUME_LANE, 1, 2);
        bytes memory few = abi.encodeWithSelector(TooFewSignatures.selector, 3, 2);
        expectRefusal(abi.encodeCall(IRegistry.govern, (g, signOrder(wire.hash(g), 2))), few);
        g.lane = own;
        expectRefusal(_governCall(g), bad);
        expectRefusal(_governCall(_order(Action.RESUME_LANE, 1, 3)), bad);
        expectRefusal(_governCall(_order(Action.DROP_LANE, 1, 2)), bad);
        expectRefusal(_governCall(_order(0, 1, 1)), bad);
        g = _order(Action.RESUME_LANE, 2, 2);
        expectRefusal(_governCall(g), abi.encodeWithSelector(WrongCounter.selector, 1, 2));
        rootLane = other;
        begin();
        g = _order(Action.RESUME_LANE, 1, 2);
        expectRefusal(_governCall(g), abi.encodeWithSelector(NotRoot.selector));
        vm.assertEq(abi.encode(registry.root()), abi.encode(other), "root");
    }

    function test_follows_what_the_root_tells() public {
        rootLane = other;
        begin();
        applied(other, _told(third, Action.RESUME_LANE, 2, 3));
        ignored(other, _told(third, Action.RESUME_LANE, 1, 2));
        ignored(other, _told(third, 9, 3, 4));
        refused(other, _told(third, Action.RESUME_LANE, 3, 0), Refusals.BAD_BODY);
        (uint64 version, uint64 generation, uint64 height, bytes32 blockHash, bool dropped) = registry.governed(third);
        vm.assertTrue(version == 2 && generation == 3 && height == 7 && blockHash == "kept" && !dropped, "governed");
        applied(other, _told(third, Action.DROP_LANE, 3, 3));
        ignored(other, _told(third, Action.RESUME_LANE, 4, 4));
        (,,,, dropped) = registry.governed(third);
        vm.assertTrue(dropped, "dropped");
    }

    function test_rejects_decisions_that_another_registry_tells() public {
        refused(other, _told(third, Action.DROP_LANE, 1, 1), Refusals.WRONG_AUTHORITY);
        (uint64 version, uint64 generation,,, bool dropped) = registry.governed(third);
        vm.assertTrue(version == 0 && generation == 1 && !dropped, "governed");
    }
}
