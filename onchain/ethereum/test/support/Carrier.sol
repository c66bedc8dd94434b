// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../../src/libs/Records.sol";
import {Fixture} from "./Fixture.sol";
import {IRegistry} from "./IRegistry.sol";

/// @title Carries one event after the other and says what each must do
abstract contract Carrier is Fixture {
    uint64 private _next = 1;

    function carryNext(Lane memory source, Event memory e, Disposition disposition, uint16 code) internal {
        vm.expectEmit();
        emit IRegistry.Applied(source.chain, source.registry, _next, uint8(disposition), code);
        carry(source, _next++, e);
    }

    function applied(Lane memory source, Event memory e) internal {
        carryNext(source, e, Disposition.APPLIED, 0);
    }

    function ignored(Lane memory source, Event memory e) internal {
        carryNext(source, e, Disposition.IGNORED, 0);
    }

    function pending(Lane memory source, Event memory e) internal {
        carryNext(source, e, Disposition.PENDING, 0);
    }

    function refused(Lane memory source, Event memory e, uint16 code) internal {
        uint64 events = registry.eventCount();
        carryNext(source, e, Disposition.REFUSED, code);
        vm.assertEq(registry.eventCount(), events, "a refused item emitted");
    }

    function assertState(bytes32 id, State state) internal view {
        vm.assertEq(uint8(stateOf(id)), uint8(state), "state");
    }
}
