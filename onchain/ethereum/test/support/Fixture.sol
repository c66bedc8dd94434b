// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CaimiWire} from "../../src/libs/CaimiWire.sol";
import "../../src/libs/Records.sol";
import {IRegistry, IToken} from "./IRegistry.sol";
import {Permits} from "./Permits.sol";
import {Test} from "./Vm.sol";
import {WireHarness} from "./WireHarness.sol";

/// @title A registry with money in it, and everything that is signed for it
abstract contract Fixture is Test {
    uint256 internal constant PUBLISHER = 0xA11CE;
    uint256 internal constant CONSUMER = 0xC0C0A;
    uint256 internal constant OPERATOR = 0x09E8;
    uint256 internal constant HOST = 0x4057;
    uint256 internal constant STRANGER = 0x57A6;
    uint256 internal constant FIRST_VALIDATOR = 0x7A11;
    uint256 internal constant HALF_ORDER = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0;
    uint64 internal constant NOW = 1_800_000_000;
    uint64 internal constant DEADLINE = NOW + 600;
    uint64 internal constant WINDOW = 30;
    uint128 internal constant MIN_DEPOSIT = 100;
    uint128 internal constant OPENING = 1000;
    bytes32 internal constant RECEIPT = keccak256("receipt");

    // What registries are created with, for tests to change before they create one.
    uint64 internal resumeDelay = 100;
    uint128 internal withdrawalCap = 0;
    Lane internal rootLane;

    IToken internal token;
    IRegistry internal registry;
    WireHarness internal wire;
    bytes32 internal domain;
    Lane internal own;
    // Another registry that is home or mirror, and a third one; ascending.
    Lane internal other = Lane(bytes32(uint256(5)), bytes32(uint256(1)));
    Lane internal third = Lane(bytes32(uint256(5)), bytes32(uint256(2)));
    uint256 private _nonce;

    function setUp() public virtual {
        begin();
    }

    function begin() internal {
        vm.warp(NOW);
        wire = new WireHarness();
        token = deployToken(address(this));
        registry = deployRegistry(genesis(), MIN_DEPOSIT, WINDOW);
        domain = wire.domainSeparator(registry.network());
        own = registry.lane();
        fund(PUBLISHER, OPENING);
    }

    // --- creation

    function genesis() internal pure returns (Genesis memory) {
        address[] memory validators = new address[](4);
        for (uint256 i = 0; i < 4; i++) {
            validators[i] = vm.addr(FIRST_VALIDATOR + i);
        }
        address[] memory operators = new address[](1);
        operators[0] = vm.addr(OPERATOR);
        return Genesis(keccak256("root genesis"), validators, 1, 2, operators, 0, keccak256("nonce"));
    }

    function deployRegistry(Genesis memory descriptor, uint128 minDeposit, uint64 window) internal returns (IRegistry) {
        bytes memory arguments =
            abi.encode(descriptor, minDeposit, window, resumeDelay, withdrawalCap, address(token), rootLane);
        return IRegistry(create(bytes.concat(vm.getCode("CaimiRegistry.sol:CaimiRegistry"), arguments)));
    }

    function fund(uint256 key, uint128 amount) internal {
        token.mint(vm.addr(key), amount);
        (uint8 v, bytes32 r, bytes32 s) = signPermit(key, amount, type(uint256).max);
        registry.fundWithPermit(vm.addr(key), amount, type(uint256).max, v, r, s);
    }

    // --- signing

    function freshNonce() internal returns (bytes32) {
        return keccak256(abi.encode("nonce", ++_nonce));
    }

    function sign(uint256 key, bytes32 structHash) internal view returns (bytes memory) {
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(key, wire.digest(domain, structHash));
        return abi.encodePacked(r, s, v);
    }

    function signPermit(uint256 key, uint128 amount, uint256 deadline) internal view returns (uint8, bytes32, bytes32) {
        return vm.sign(key, Permits.digest(token, vm.addr(key), address(registry), amount, deadline));
    }

    function idOf(Publication memory p) internal view returns (bytes32) {
        return wire.digest(domain, wire.hash(p));
    }

    // The same signature with the other s, which recovers to the same account.
    function highS(bytes memory signature) internal pure returns (bytes memory) {
        (bytes32 r, bytes32 s, uint8 v) = split(signature);
        uint256 flipped = 2 * HALF_ORDER + 1 - uint256(s);
        return abi.encodePacked(r, flipped, v == 27 ? uint8(28) : uint8(27));
    }

    function split(bytes memory signature) internal pure returns (bytes32 r, bytes32 s, uint8 v) {
        assembly ("memory-safe") {
            r := mload(add(signature, 0x20))
            s := mload(add(signature, 0x40))
            v := byte(0, mload(add(signature, 0x60)))
        }
    }

    // --- publications

    function publication(Lane memory home, Lane memory mirror) internal returns (Publication memory p) {
        p.format = 1;
        p.kind = 1;
        p.publisher = vm.addr(PUBLISHER);
        p.name = "digits";
        p.version = 1;
        p.ciphertext = Cid(0x70, keccak256("ciphertext"));
        p.capsuleHash = keccak256("capsule");
        p.manifestCommitment = keccak256("manifest");
        p.policyHash = CaimiWire.POLICY_OPEN;
        p.home = home;
        p.mirrors = lanes(mirror);
        p.deposit = MIN_DEPOSIT;
        p.nonce = freshNonce();
        p.deadline = DEADLINE;
    }

    function homePublication() internal returns (Publication memory) {
        return publication(own, other);
    }

    function mirrorPublication() internal returns (Publication memory) {
        return publication(other, own);
    }

    function lock(Publication memory p) internal returns (bytes32) {
        return registry.lockModel(p, sign(PUBLISHER, wire.hash(p)));
    }

    function lanes(Lane memory one) internal pure returns (Lane[] memory list) {
        list = new Lane[](1);
        list[0] = one;
    }

    function lanes(Lane memory one, Lane memory two) internal pure returns (Lane[] memory list) {
        list = new Lane[](2);
        (list[0], list[1]) = (one, two);
    }

    function stateOf(bytes32 id) internal view returns (State) {
        (, uint8 state,,,,,,,,,) = registry.publication(id);
        return State(state);
    }

    // --- revocations

    function revocation(bytes32 id) internal returns (Revocation memory) {
        return Revocation(own, id, vm.addr(PUBLISHER), 7, freshNonce(), DEADLINE);
    }

    function revoke(bytes32 id) internal {
        Revocation memory r = revocation(id);
        registry.revoke(r, sign(PUBLISHER, wire.hash(r)));
    }

    // What another registry tells of a revocation that it took.
    function revoked(Lane memory source, bytes32 id) internal view returns (Event memory) {
        return Event(1, Kind.REVOKED, lanes(own), id, abi.encode(uint16(7), source));
    }

    // --- events of other registries

    function answer(uint16 kind, bytes32 id) internal view returns (Event memory) {
        bytes memory body = kind == Kind.LOCKED ? abi.encode(Role.MIRROR, own) : abi.encode(uint16(404), own);
        return Event(1, kind, lanes(own), id, body);
    }

    function outcome(bytes32 id, State state) internal view returns (Event memory) {
        if (state == State.SUPERSEDED) return Event(1, Kind.SUPERSEDED, lanes(own), id, abi.encode(uint64(9)));
        return Event(1, Kind.OUTCOME, lanes(own), id, abi.encode(state, uint16(0)));
    }

    // --- certified runs

    function run(Lane memory source, uint64 first, Event[] memory events)
        internal
        view
        returns (Certificate memory certificate, Item[] memory items, bytes32[] memory proof)
    {
        items = new Item[](events.length);
        bytes32[] memory leaves = new bytes32[](events.length);
        for (uint256 i = 0; i < events.length; i++) {
            items[i] = Item(first + uint64(i), events[i]);
            leaves[i] = wire.leafHash(source, items[i]);
        }
        uint64 last = first + uint64(events.length) - 1;
        certificate = certify(Checkpoint(source, 1, 1, first, last, rootOf(leaves), 7, keccak256("block")));
        proof = new bytes32[](0);
    }

    function certify(Checkpoint memory checkpoint) internal view returns (Certificate memory certificate) {
        certificate.checkpoint = checkpoint;
        certificate.signatures = new Signature[](3);
        for (uint8 i = 0; i < 3; i++) {
            certificate.signatures[i] = signCheckpoint(checkpoint, i);
        }
    }

    // Validators 0 to `count` - 1 sign an order.
    function signOrder(bytes32 structHash, uint8 count) internal view returns (Signature[] memory) {
        return signOrder(structHash, FIRST_VALIDATOR, count);
    }

    // The same of a set whose first key is `first`.
    function signOrder(bytes32 structHash, uint256 first, uint8 count)
        internal
        view
        returns (Signature[] memory signatures)
    {
        signatures = new Signature[](count);
        bytes32 digest = wire.digest(domain, structHash);
        for (uint8 i = 0; i < count; i++) {
            (uint8 v, bytes32 r, bytes32 s) = vm.sign(first + i, digest);
            signatures[i] = Signature(i, v, r, s);
        }
    }

    function signCheckpoint(Checkpoint memory checkpoint, uint8 signer) internal view returns (Signature memory) {
        bytes32 digest = wire.digest(domain, wire.hash(checkpoint));
        (uint8 v, bytes32 r, bytes32 s) = vm.sign(FIRST_VALIDATOR + signer, digest);
        return Signature(signer, v, r, s);
    }

    function carry(Lane memory source, uint64 first, Event memory one) internal {
        Event[] memory events = new Event[](1);
        events[0] = one;
        (Certificate memory certificate, Item[] memory items, bytes32[] memory proof) = run(source, first, events);
        registry.applyRun(certificate, items, proof);
    }

    function rootOf(bytes32[] memory level) internal pure returns (bytes32) {
        while (level.length > 1) {
            bytes32[] memory above = new bytes32[]((level.length + 1) / 2);
            for (uint256 i = 0; i < above.length; i++) {
                bool odd = 2 * i + 1 == level.length;
                above[i] = odd ? level[2 * i] : keccak256(abi.encodePacked(hex"01", level[2 * i], level[2 * i + 1]));
            }
            level = above;
        }
        return level[0];
    }

    // --- validator sets

    function attachEpochs() internal {
        registry.attachEpochs(create(vm.getCode("CaimiEpochs.sol:CaimiEpochs")));
    }

    // Of `n` validators, with the keys that follow `first`.
    function epochSet(uint64 epoch, uint256 first, uint256 n) internal pure returns (EpochSet memory next) {
        address[] memory validators = new address[](n);
        for (uint256 i = 0; i < n; i++) {
            validators[i] = vm.addr(first + i);
        }
        uint8 f = uint8((n - 1) / 3);
        return EpochSet(epoch, validators, f, f + 1, keccak256(abi.encode("transcript", epoch)));
    }

    // --- what a call left

    // Runs a call and demands that it wrote nothing: a repetition, or a refusal.
    function expectUntouched(bytes memory call) internal {
        uint64 events = registry.eventCount();
        vm.record();
        (bool ok,) = address(registry).call(call);
        (, bytes32[] memory writes) = vm.accesses(address(registry));
        vm.assertTrue(ok, "the repetition was refused");
        vm.assertEq(writes.length, 0, "the repetition wrote");
        vm.assertEq(registry.eventCount(), events, "the repetition emitted");
    }

    // Runs a call and demands this very refusal, and that the chain's state is as before.
    function expectRefusal(bytes memory call, bytes memory refusal) internal {
        bytes32 before = fingerprint();
        vm.expectRevert(refusal);
        (bool reverted,) = address(registry).call(call);
        vm.assertTrue(reverted, "expectRevert says so if the call was refused as expected");
        vm.assertEq(fingerprint(), before, "a refused call changed something");
    }

    // What a failed call could have changed.
    function fingerprint() internal view returns (bytes32) {
        address publisher = vm.addr(PUBLISHER);
        return keccak256(
            abi.encode(
                registry.eventCount(),
                registry.balance(publisher),
                registry.balance(vm.addr(CONSUMER)),
                registry.tokens(publisher),
                registry.tokens(vm.addr(STRANGER)),
                registry.tokens(address(registry))
            )
        );
    }
}
