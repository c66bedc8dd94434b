// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Refusals} from "../src/libs/Errors.sol";
import "../src/libs/Records.sol";
import {Carrier} from "./support/Carrier.sol";

/// @notice What events of a home do at a mirror (spec 20 §4, spec 30 §3).
contract FollowingTest is Carrier {
    function test_mirror_follows_its_home_and_no_clock() public {
        Publication memory p = mirrorPublication();
        bytes32 id = lock(p);
        vm.warp(DEADLINE + 1e6);
        applied(other, outcome(id, State.COMMITTED));
        assertState(id, State.COMMITTED);
        ignored(other, outcome(id, State.COMMITTED));
        refused(other, outcome(id, State.ABORTED), Refusals.ALREADY_DECIDED);
        applied(other, outcome(id, State.SUPERSEDED));
        assertState(id, State.SUPERSEDED);
        ignored(other, outcome(id, State.COMMITTED));
        ignored(other, outcome(id, State.SUPERSEDED));
        refused(other, outcome(id, State.ABORTED), Refusals.ALREADY_DECIDED);
        vm.assertEq(registry.eventCount(), 1, "a mirror emits its answer and nothing more");
    }

    function test_mirror_follows_an_abort_to_the_end() public {
        bytes32 id = lock(mirrorPublication());
        applied(other, outcome(id, State.ABORTED));
        assertState(id, State.ABORTED);
        ignored(other, outcome(id, State.ABORTED));
        refused(other, outcome(id, State.COMMITTED), Refusals.ALREADY_DECIDED);
        refused(other, outcome(id, State.SUPERSEDED), Refusals.ALREADY_DECIDED);
    }

    function test_refused_mirror_can_only_be_aborted() public {
        Publication memory p = mirrorPublication();
        p.format = 2;
        bytes32 id = lock(p);
        refused(other, outcome(id, State.COMMITTED), Refusals.ALREADY_DECIDED);
        refused(other, outcome(id, State.SUPERSEDED), Refusals.ALREADY_DECIDED);
        assertState(id, State.REFUSED);
        applied(other, outcome(id, State.ABORTED));
        assertState(id, State.ABORTED);
    }

    function test_early_outcome_meets_the_lock() public {
        Publication memory p = mirrorPublication();
        bytes32 id = idOf(p);
        pending(other, outcome(id, State.COMMITTED));
        pending(other, outcome(id, State.ABORTED));
        pending(third, outcome(id, State.ABORTED));
        pending(other, outcome(id, State.SUPERSEDED));
        pending(other, outcome(id, State.COMMITTED));
        lock(p);
        assertState(id, State.SUPERSEDED);
    }

    function test_early_abort_stays_an_abort() public {
        Publication memory p = mirrorPublication();
        pending(other, outcome(idOf(p), State.ABORTED));
        pending(other, outcome(idOf(p), State.SUPERSEDED));
        pending(other, outcome(idOf(p), State.COMMITTED));
        assertState(lock(p), State.ABORTED);
    }

    function test_early_commit_does_not_move_a_refusal() public {
        Publication memory p = mirrorPublication();
        p.version = 0;
        pending(other, outcome(idOf(p), State.COMMITTED));
        assertState(lock(p), State.REFUSED);
    }

    function test_rejects_outcomes_of_others() public {
        bytes32 mirrored = lock(mirrorPublication());
        refused(third, outcome(mirrored, State.COMMITTED), Refusals.WRONG_AUTHORITY);
        bytes32 id = lock(homePublication());
        refused(other, outcome(id, State.ABORTED), Refusals.WRONG_AUTHORITY);
        refused(other, outcome(id, State.SUPERSEDED), Refusals.WRONG_AUTHORITY);
        assertState(mirrored, State.LOCKED);
        assertState(id, State.LOCKED);
    }
}
