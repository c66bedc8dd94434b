// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CaimiWire} from "../src/libs/CaimiWire.sol";
import "../src/libs/Records.sol";
import "../src/libs/Errors.sol";
import {Fixture} from "./support/Fixture.sol";
import {IRegistry} from "./support/IRegistry.sol";

/// @notice lockModel, abort and abortUnlocked (spec 30 §3).
contract LocksTest is Fixture {
    function _call(Publication memory p) private view returns (bytes memory) {
        return abi.encodeCall(IRegistry.lockModel, (p, sign(PUBLISHER, wire.hash(p))));
    }

    function _refuse(Publication memory p, bytes memory refusal) private {
        expectRefusal(_call(p), refusal);
        vm.assertTrue(stateOf(idOf(p)) == State.NONE, "a refused publication has a record");
    }

    // --- home

    function test_home_lock_escrows_and_tells_the_mirrors() public {
        Publication memory p = homePublication();
        vm.expectEmit();
        emit IRegistry.Emitted(1, 1, Kind.LOCKED, p.mirrors, idOf(p), abi.encode(Role.HOME, own));
        bytes32 id = lock(p);
        vm.assertEq(id, idOf(p), "id");
        vm.assertEq(registry.balance(p.publisher), OPENING - MIN_DEPOSIT, "balance");
        (uint8 role, uint8 state, address publisher, string memory name, uint64 version, Lane memory home,,,,,) =
            registry.publication(id);
        vm.assertEq(role, uint8(Role.HOME), "role");
        vm.assertEq(state, uint8(State.LOCKED), "state");
        vm.assertEq(publisher, p.publisher, "publisher");
        vm.assertEq(name, "digits", "name");
        vm.assertEq(version, 1, "version");
        vm.assertEq(abi.encode(home), abi.encode(own), "home");
        (,,,,,, Lane[] memory mirrors, uint128 deposit, uint64 deadline, uint8 awaited, uint8 reason) =
            registry.publication(id);
        vm.assertEq(abi.encode(mirrors), abi.encode(p.mirrors), "mirrors");
        vm.assertEq(deposit, MIN_DEPOSIT, "deposit");
        vm.assertEq(deadline, DEADLINE, "deadline");
        vm.assertEq(awaited, 1, "awaited");
        vm.assertEq(reason, 0, "reason");
    }

    function test_repeated_lock_does_nothing() public {
        Publication memory p = homePublication();
        lock(p);
        expectUntouched(_call(p));
        vm.warp(DEADLINE + 1);
        expectUntouched(_call(p));
    }

    function test_rejects_wrong_signer() public {
        Publication memory p = homePublication();
        bytes memory call = abi.encodeCall(IRegistry.lockModel, (p, sign(STRANGER, wire.hash(p))));
        expectRefusal(call, abi.encodeWithSelector(WrongSigner.selector, p.publisher, vm.addr(STRANGER)));
    }

    function test_rejects_signature_for_another_network() public {
        Publication memory p = homePublication();
        domain = wire.domainSeparator(keccak256("another network"));
        bytes memory signature = sign(PUBLISHER, wire.hash(p));
        domain = wire.domainSeparator(registry.network());
        address recovered = wire.recover(idOf(p), signature);
        bytes memory refusal = abi.encodeWithSelector(WrongSigner.selector, p.publisher, recovered);
        expectRefusal(abi.encodeCall(IRegistry.lockModel, (p, signature)), refusal);
    }

    function test_rejects_malformed_signatures() public {
        Publication memory p = homePublication();
        bytes memory good = sign(PUBLISHER, wire.hash(p));
        (bytes32 r, bytes32 s, uint8 v) = split(good);
        bytes memory bad = abi.encodeWithSelector(BadSignature.selector);
        bytes[6] memory signatures = [
            bytes(""),
            abi.encodePacked(r, s),
            abi.encodePacked(good, uint8(0)),
            abi.encodePacked(r, s, v - 27),
            abi.encodePacked(bytes32(0), s, v),
            abi.encodePacked(r, bytes32(0), v)
        ];
        for (uint256 i = 0; i < signatures.length; i++) {
            expectRefusal(abi.encodeCall(IRegistry.lockModel, (p, signatures[i])), bad);
        }
        bytes memory high = abi.encodeWithSelector(HighS.selector);
        expectRefusal(abi.encodeCall(IRegistry.lockModel, (p, highS(good))), high);
        // v is looked at before s.
        expectRefusal(abi.encodeCall(IRegistry.lockModel, (p, abi.encodePacked(r, type(uint256).max, uint8(29)))), bad);
    }

    // They take more than one word of lane numbers.
    function test_refused_publication_shows_all_its_mirrors() public {
        Publication memory p = mirrorPublication();
        p.mirrors = new Lane[](18);
        for (uint256 i = 0; i < 18; i++) {
            p.mirrors[i] = i == 9 ? own : Lane(keccak256("a chain"), bytes32(18 - i));
        }
        bytes32 id = lock(p);
        (, uint8 state,,,, Lane memory home, Lane[] memory mirrors,,,,) = registry.publication(id);
        vm.assertEq(state, uint8(State.REFUSED), "state");
        vm.assertEq(abi.encode(home), abi.encode(other), "home");
        vm.assertEq(abi.encode(mirrors), abi.encode(p.mirrors), "mirrors");
    }

    // Words that do not fit their types are no values: nothing may be made of them, whoever signed what they hash to.
    function test_rejects_numbers_outside_their_types() public {
        Publication memory p = homePublication();
        bytes memory call = abi.encodeCall(IRegistry.lockModel, (p, sign(PUBLISHER, wire.hash(p))));
        // Places of the words, and the highest byte that the type leaves free: format, kind, publisher, version, codec,
        // unit, price, deposit, deadline.
        uint8[2][9] memory words = [[0, 29], [1, 30], [2, 11], [4, 23], [5, 30], [14, 30], [15, 15], [16, 15], [18, 23]];
        for (uint256 i = 0; i < words.length; i++) {
            for (uint256 j = 0; j < 2; j++) {
                // Behind the selector and two offsets; the first byte of the word, or the last one that must be zero.
                uint256 place = 4 + 64 + 32 * uint256(words[i][0]) + (j == 0 ? 0 : words[i][1]);
                call[place] = 0x01;
                (bool ok, bytes memory answer) = address(registry).call(call);
                vm.assertTrue(!ok && answer.length == 0, vm.toString(words[i][0]));
                call[place] = 0x00;
            }
        }
        (bool done,) = address(registry).call(call);
        vm.assertTrue(done, "the call itself is lawful");
    }

    function test_rejects_publication_of_other_registries() public {
        Publication memory p = publication(other, third);
        _refuse(p, abi.encodeWithSelector(WrongRegistry.selector, other.registry, own.registry));
        // The same address on another chain is another registry.
        p = publication(Lane(bytes32(uint256(9)), own.registry), third);
        _refuse(p, abi.encodeWithSelector(WrongRegistry.selector, own.registry, own.registry));
    }

    function test_rejects_past_and_near_deadlines() public {
        Publication memory p = homePublication();
        p.deadline = NOW - 1;
        _refuse(p, abi.encodeWithSelector(PastDeadline.selector, NOW - 1, NOW));
        p.deadline = NOW + 2 * WINDOW - 1;
        _refuse(p, abi.encodeWithSelector(NearDeadline.selector, p.deadline, NOW + 2 * WINDOW));
        p.deadline = NOW + 2 * WINDOW;
        lock(p);
    }

    function test_rejects_small_deposit() public {
        Publication memory p = homePublication();
        p.deposit = MIN_DEPOSIT - 1;
        _refuse(p, abi.encodeWithSelector(SmallDeposit.selector, MIN_DEPOSIT, MIN_DEPOSIT - 1));
    }

    function test_rejects_used_nonce_and_taken_name() public {
        Publication memory p = homePublication();
        lock(p);
        Publication memory again = homePublication();
        again.version = 2;
        again.nonce = p.nonce;
        _refuse(again, abi.encodeWithSelector(NonceUsed.selector, p.nonce));
        again.nonce = freshNonce();
        again.version = 1;
        _refuse(again, abi.encodeWithSelector(NameTaken.selector));
    }

    function test_rejects_low_balance() public {
        Publication memory p = homePublication();
        p.deposit = OPENING + 1;
        _refuse(p, abi.encodeWithSelector(LowBalance.selector, OPENING + 1, OPENING));
    }

    function test_refused_lock_uses_up_neither_nonce_nor_name() public {
        Publication memory p = homePublication();
        p.deposit = OPENING + 1;
        _refuse(p, abi.encodeWithSelector(LowBalance.selector, OPENING + 1, OPENING));
        p.deposit = MIN_DEPOSIT;
        lock(p);
        vm.assertTrue(stateOf(idOf(p)) == State.LOCKED, "locked");
    }

    function test_rejects_permanent_reasons_in_order() public {
        // Everything is wrong; each step mends the first thing, so the order of the checks is visible.
        Publication memory p = homePublication();
        p.format = 2;
        p.kind = 3;
        p.name = "-";
        p.version = 0;
        p.ciphertext.codec = 0x71;
        p.policyHash = keccak256("closed");
        p.terms.unit = 1;
        p.extensionHash = keccak256("more");
        p.mirrors = lanes(own);
        p.deadline = NOW - 1;
        _refuse(p, abi.encodeWithSelector(UnsupportedFormat.selector, 2));
        p.format = 1;
        _refuse(p, abi.encodeWithSelector(UnsupportedKind.selector, 3));
        p.kind = 2;
        _refuse(p, abi.encodeWithSelector(BadName.selector));
        p.name = "a";
        _refuse(p, abi.encodeWithSelector(BadVersion.selector));
        p.version = type(uint64).max;
        _refuse(p, abi.encodeWithSelector(BadCid.selector, 0x71));
        p.ciphertext = Cid(0x55, 0);
        _refuse(p, abi.encodeWithSelector(BadCid.selector, 0x55));
        p.ciphertext.digest = keccak256("ciphertext");
        _refuse(p, abi.encodeWithSelector(UnsupportedPolicy.selector, keccak256("closed")));
        p.policyHash = CaimiWire.POLICY_OPEN;
        _refuse(p, abi.encodeWithSelector(UnsupportedTerms.selector));
        p.terms = Terms(0, 0, 1);
        _refuse(p, abi.encodeWithSelector(UnsupportedTerms.selector));
        p.terms = Terms(keccak256("coin"), 0, 0);
        _refuse(p, abi.encodeWithSelector(UnsupportedTerms.selector));
        p.terms = Terms(0, 0, 0);
        _refuse(p, abi.encodeWithSelector(UnsupportedExtension.selector, keccak256("more")));
        p.extensionHash = 0;
        _refuse(p, abi.encodeWithSelector(BadMirrors.selector));
        p.mirrors = lanes(other);
        _refuse(p, abi.encodeWithSelector(PastDeadline.selector, NOW - 1, NOW));
    }

    function test_rejects_bad_mirrors() public {
        Publication memory p = homePublication();
        Lane[] memory eight = new Lane[](8);
        for (uint256 i = 0; i < 8; i++) {
            eight[i] = Lane(bytes32(i + 1), 0);
        }
        Lane[][5] memory lists = [new Lane[](0), lanes(third, other), lanes(other, other), lanes(other, own), eight];
        for (uint256 i = 0; i < lists.length; i++) {
            p.mirrors = lists[i];
            _refuse(p, abi.encodeWithSelector(BadMirrors.selector));
        }
        assembly ("memory-safe") {
            mstore(eight, 7)
        }
        p.mirrors = eight;
        lock(p);
    }

    // --- mirror

    function test_mirror_locks_without_money_and_without_a_clock() public {
        Publication memory p = mirrorPublication();
        p.deadline = 1;
        p.deposit = type(uint128).max;
        vm.expectEmit();
        emit IRegistry.Emitted(1, 1, Kind.LOCKED, lanes(other), idOf(p), abi.encode(Role.MIRROR, other));
        bytes32 id = lock(p);
        (uint8 role, uint8 state,,,, Lane memory home,, uint128 deposit,, uint8 awaited,) = registry.publication(id);
        vm.assertEq(role, uint8(Role.MIRROR), "role");
        vm.assertEq(state, uint8(State.LOCKED), "state");
        vm.assertEq(abi.encode(home), abi.encode(other), "home");
        vm.assertEq(deposit, 0, "deposit");
        vm.assertEq(awaited, 0, "awaited");
        expectUntouched(_call(p));
    }

    function test_mirror_answers_a_permanent_reason_once() public {
        Publication memory p = mirrorPublication();
        p.name = "Not a name";
        p.mirrors = new Lane[](9);
        for (uint256 i = 0; i < 9; i++) {
            p.mirrors[i] = i == 4 ? own : Lane(bytes32(i + 1), 0);
        }
        vm.expectEmit();
        bytes memory body = abi.encode(Refusals.BAD_NAME, other);
        emit IRegistry.Emitted(1, 1, Kind.REFUSED, lanes(other), idOf(p), body);
        bytes32 id = lock(p);
        vm.assertTrue(stateOf(id) == State.REFUSED, "refused");
        (,,,,,, Lane[] memory mirrors,,,,) = registry.publication(id);
        vm.assertEq(abi.encode(mirrors), abi.encode(p.mirrors), "the record shows what was signed");
        expectUntouched(_call(p));
    }

    // --- abort

    function test_abort_gives_the_deposit_back_after_the_deadline() public {
        Publication memory p = homePublication();
        bytes32 id = lock(p);
        bytes memory call = abi.encodeCall(IRegistry.abort, (id));
        vm.warp(DEADLINE);
        expectRefusal(call, abi.encodeWithSelector(DeadlineNotPassed.selector, DEADLINE, DEADLINE));
        vm.warp(DEADLINE + 1);
        vm.expectEmit();
        emit IRegistry.Emitted(2, 1, Kind.OUTCOME, p.mirrors, id, abi.encode(State.ABORTED, uint16(1)));
        registry.abort(id);
        vm.assertTrue(stateOf(id) == State.ABORTED, "aborted");
        vm.assertEq(registry.balance(p.publisher), OPENING, "deposit back, once");
        expectUntouched(call);
    }

    function test_rejects_abort_where_it_is_not_due() public {
        bytes32 nobody = keccak256("nothing");
        expectRefusal(
            abi.encodeCall(IRegistry.abort, (nobody)), abi.encodeWithSelector(UnknownPublication.selector, nobody)
        );
        bytes32 mirrored = lock(mirrorPublication());
        vm.warp(DEADLINE + 1);
        expectRefusal(abi.encodeCall(IRegistry.abort, (mirrored)), abi.encodeWithSelector(NotHome.selector));
    }

    function test_rejects_abort_of_committed_and_superseded() public {
        bytes32 first = lock(homePublication());
        carry(other, 1, answer(Kind.LOCKED, first));
        vm.warp(DEADLINE + 1);
        bytes memory call = abi.encodeCall(IRegistry.abort, (first));
        expectRefusal(call, abi.encodeWithSelector(NotLocked.selector, State.COMMITTED));
        vm.warp(NOW);
        Publication memory higher = homePublication();
        higher.version = 2;
        carry(other, 2, answer(Kind.LOCKED, lock(higher)));
        vm.warp(DEADLINE + 1);
        expectRefusal(call, abi.encodeWithSelector(NotLocked.selector, State.SUPERSEDED));
    }

    function test_abort_unlocked_uses_no_name_and_no_nonce() public {
        Publication memory p = homePublication();
        bytes memory call = abi.encodeCall(IRegistry.abortUnlocked, (p, sign(PUBLISHER, wire.hash(p))));
        expectRefusal(call, abi.encodeWithSelector(DeadlineNotPassed.selector, DEADLINE, NOW));
        vm.warp(DEADLINE + 1);
        vm.expectEmit();
        emit IRegistry.Emitted(1, 1, Kind.OUTCOME, p.mirrors, idOf(p), abi.encode(State.ABORTED, uint16(3)));
        registry.abortUnlocked(p, sign(PUBLISHER, wire.hash(p)));
        vm.assertEq(registry.balance(p.publisher), OPENING, "nothing was escrowed, nothing comes back");
        expectUntouched(call);
        expectUntouched(_call(p));
        Publication memory same = homePublication();
        (same.nonce, same.deadline) = (p.nonce, DEADLINE + 600);
        lock(same);
    }

    function test_rejects_abort_unlocked() public {
        Publication memory p = homePublication();
        vm.warp(DEADLINE + 1);
        bytes memory call = abi.encodeCall(IRegistry.abortUnlocked, (p, sign(STRANGER, wire.hash(p))));
        expectRefusal(call, abi.encodeWithSelector(WrongSigner.selector, p.publisher, vm.addr(STRANGER)));
        p.name = "";
        call = abi.encodeCall(IRegistry.abortUnlocked, (p, sign(PUBLISHER, wire.hash(p))));
        expectRefusal(call, abi.encodeWithSelector(BadName.selector));
        p = mirrorPublication();
        call = abi.encodeCall(IRegistry.abortUnlocked, (p, sign(PUBLISHER, wire.hash(p))));
        expectRefusal(call, abi.encodeWithSelector(NotHome.selector));
    }

    // --- properties

    /// @dev Against the rule of spec 30 §4 written a second time, byte by byte.
    function testFuzz_names(bytes memory name) public view {
        bool expected = name.length >= 1 && name.length <= 64;
        for (uint256 i = 0; i < name.length && expected; i++) {
            uint8 c = uint8(name[i]);
            bool outer = (c >= 0x61 && c <= 0x7a) || (c >= 0x30 && c <= 0x39);
            bool inner = outer || c == 0x2e || c == 0x5f || c == 0x2d;
            expected = (i == 0 || i == name.length - 1) ? outer : inner;
        }
        vm.assertTrue(wire.isName(name) == expected, "name");
    }

    /// @dev Random bytes are hardly ever names, so these are made of the interesting characters.
    function testFuzz_names_of_likely_characters(uint8[] memory picks) public view {
        bytes memory letters = "az09.-_{`/:A";
        bytes memory name = new bytes(picks.length % 67);
        for (uint256 i = 0; i < name.length; i++) {
            name[i] = letters[picks[i] % letters.length];
        }
        testFuzz_names(name);
    }

    function testFuzz_lock_takes_exactly_the_deposit(uint128 deposit, uint64 ahead) public {
        Publication memory p = homePublication();
        p.deposit = uint128(bound(deposit, MIN_DEPOSIT, OPENING));
        p.deadline = NOW + uint64(bound(ahead, 2 * WINDOW, 1e9));
        bytes32 id = lock(p);
        vm.assertEq(registry.balance(p.publisher), OPENING - p.deposit, "balance");
        vm.warp(uint256(p.deadline) + 1);
        registry.abort(id);
        vm.assertEq(registry.balance(p.publisher), OPENING, "balance after");
    }
}
