// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/Records.sol";
import "../src/libs/Errors.sol";
import {Fixture} from "./support/Fixture.sol";
import {IRegistry} from "./support/IRegistry.sol";

/// @notice Certificates and runs that applyRun refuses as a whole (spec 20 §3), and what running out of gas does.
contract RunsTest is Fixture {
    bytes32 private _id;
    // Encoded, because the old code generator cannot keep a list of structs in storage.
    bytes private _encoded;

    function setUp() public override {
        super.setUp();
        _id = lock(homePublication());
        Event[] memory events = new Event[](5);
        for (uint256 i = 0; i < 5; i++) {
            events[i] = answer(Kind.LOCKED, i == 3 ? _id : keccak256(abi.encode(i)));
        }
        (Certificate memory certificate, Item[] memory items,) = run(other, 10, events);
        _encoded = abi.encode(certificate, items);
    }

    function _certificate() private view returns (Certificate memory certificate) {
        (certificate,) = abi.decode(_encoded, (Certificate, Item[]));
    }

    function _items() private view returns (Item[] memory items) {
        (, items) = abi.decode(_encoded, (Certificate, Item[]));
    }

    function _call(Certificate memory certificate, Item[] memory items, bytes32[] memory proof)
        private
        pure
        returns (bytes memory)
    {
        return abi.encodeCall(IRegistry.applyRun, (certificate, items, proof));
    }

    // Refused, and nothing of the run is marked.
    function _refuse(Certificate memory certificate, Item[] memory items, bytes memory refusal) private {
        _refuse(_call(certificate, items, new bytes32[](0)), refusal);
    }

    function _refuse(bytes memory call, bytes memory refusal) private {
        expectRefusal(call, refusal);
        vm.assertTrue(_marks() == 0 && stateOf(_id) == State.LOCKED, "something was applied");
    }

    function _marks() private view returns (uint256 count) {
        for (uint64 i = 9; i <= 15; i++) {
            if (registry.isMarked(other, 1, i)) count++;
        }
    }

    // --- certificate

    function test_rejects_other_epochs() public {
        Checkpoint memory c = _certificate().checkpoint;
        c.epoch = 0;
        _refuse(certify(c), _items(), abi.encodeWithSelector(WrongEpoch.selector, 1, 0));
        c.epoch = 2;
        _refuse(certify(c), _items(), abi.encodeWithSelector(WrongEpoch.selector, 1, 2));
    }

    function test_rejects_too_few_signatures() public {
        Certificate memory c = _certificate();
        c.signatures = new Signature[](0);
        _refuse(c, _items(), abi.encodeWithSelector(TooFewSignatures.selector, 3, 0));
        c.signatures = new Signature[](2);
        (c.signatures[0], c.signatures[1]) = (_certificate().signatures[0], _certificate().signatures[1]);
        _refuse(c, _items(), abi.encodeWithSelector(TooFewSignatures.selector, 3, 2));
    }

    function test_rejects_duplicate_unsorted_and_unknown_signers() public {
        Certificate memory c = _certificate();
        c.signatures[1] = c.signatures[0];
        _refuse(c, _items(), abi.encodeWithSelector(DuplicateSigner.selector, 0));
        c = _certificate();
        (c.signatures[0], c.signatures[1]) = (c.signatures[1], c.signatures[0]);
        _refuse(c, _items(), abi.encodeWithSelector(UnsortedSigners.selector, 0));
        c = _certificate();
        c.signatures[2].signer = 4;
        _refuse(c, _items(), abi.encodeWithSelector(UnknownSigner.selector, 4));
        c.signatures[2].signer = 255;
        _refuse(c, _items(), abi.encodeWithSelector(UnknownSigner.selector, 255));
    }

    function test_rejects_a_signature_of_another() public {
        Certificate memory c = _certificate();
        c.signatures[2].signer = 3;
        address third = vm.addr(FIRST_VALIDATOR + 2);
        _refuse(c, _items(), abi.encodeWithSelector(WrongSigner.selector, vm.addr(FIRST_VALIDATOR + 3), third));
        // A fourth signature is checked too, though three are enough.
        Certificate memory four = _certificate();
        four.signatures = new Signature[](4);
        for (uint8 i = 0; i < 4; i++) {
            four.signatures[i] = signCheckpoint(four.checkpoint, i);
        }
        four.signatures[3].v = 55 - four.signatures[3].v;
        address actual = ecrecover(
            wire.digest(domain, wire.hash(four.checkpoint)),
            four.signatures[3].v,
            four.signatures[3].r,
            four.signatures[3].s
        );
        _refuse(four, _items(), abi.encodeWithSelector(WrongSigner.selector, vm.addr(FIRST_VALIDATOR + 3), actual));
        four.signatures[3].v = 55 - four.signatures[3].v;
        registry.applyRun(four, _items(), new bytes32[](0));
    }

    function test_rejects_malformed_signatures() public {
        bytes memory bad = abi.encodeWithSelector(BadSignature.selector);
        Certificate memory c = _certificate();
        c.signatures[1].v = 29;
        _refuse(c, _items(), bad);
        c = _certificate();
        c.signatures[1].r = 0;
        _refuse(c, _items(), bad);
        c = _certificate();
        c.signatures[1].s = 0;
        _refuse(c, _items(), bad);
        c = _certificate();
        c.signatures[1].s = bytes32(2 * HALF_ORDER + 1 - uint256(c.signatures[1].s));
        c.signatures[1].v = 55 - c.signatures[1].v;
        _refuse(c, _items(), abi.encodeWithSelector(HighS.selector));
    }

    function test_rejects_every_changed_field_of_the_checkpoint() public {
        for (uint256 field = 0; field < 7; field++) {
            Certificate memory c = _certificate();
            Checkpoint memory point = c.checkpoint;
            if (field == 0) point.source.chain = keccak256("changed");
            if (field == 1) point.source.registry = keccak256("changed");
            if (field == 2) point.generation++;
            if (field == 3) point.firstSequence--;
            if (field == 4) point.lastSequence++;
            if (field == 5) point.height++;
            if (field == 6) point.blockHash = keccak256("changed");
            Signature memory one = c.signatures[0];
            address actual = ecrecover(wire.digest(domain, wire.hash(point)), one.v, one.r, one.s);
            bytes memory refusal = abi.encodeWithSelector(WrongSigner.selector, vm.addr(FIRST_VALIDATOR), actual);
            if (actual == address(0)) refusal = abi.encodeWithSelector(BadSignature.selector);
            _refuse(c, _items(), refusal);
        }
    }

    // --- source and run

    function test_rejects_own_events_and_other_generations() public {
        Checkpoint memory c = _certificate().checkpoint;
        c.source = own;
        _refuse(certify(c), _items(), abi.encodeWithSelector(OwnEvents.selector));
        c = _certificate().checkpoint;
        c.generation = 2;
        _refuse(certify(c), _items(), abi.encodeWithSelector(WrongGeneration.selector, 1, 2));
    }

    function test_rejects_zero_root_and_empty_runs() public {
        bytes memory empty = abi.encodeWithSelector(EmptyRun.selector);
        Checkpoint memory c = _certificate().checkpoint;
        c.root = 0;
        _refuse(certify(c), _items(), abi.encodeWithSelector(ZeroRoot.selector));
        c = _certificate().checkpoint;
        c.firstSequence = 0;
        _refuse(certify(c), _items(), empty);
        c = _certificate().checkpoint;
        c.lastSequence = 9;
        _refuse(certify(c), _items(), empty);
        _refuse(_certificate(), new Item[](0), empty);
    }

    function test_rejects_long_runs() public {
        Checkpoint memory c = _certificate().checkpoint;
        c.lastSequence = 10 + 1024;
        _refuse(certify(c), _items(), abi.encodeWithSelector(RunTooLong.selector, 1024, 1025));
        (c.firstSequence, c.lastSequence) = (1, type(uint64).max);
        _refuse(certify(c), _items(), abi.encodeWithSelector(RunTooLong.selector, 1024, type(uint64).max));
    }

    function test_rejects_items_out_of_the_run() public {
        Item[] memory items = _items();
        items[0].sequence = 9;
        _refuse(_certificate(), items, abi.encodeWithSelector(ItemOutOfRun.selector, 9));
        items = _items();
        items[4].sequence = 15;
        _refuse(_certificate(), items, abi.encodeWithSelector(ItemOutOfRun.selector, 15));
        items = _items();
        (items[1], items[2]) = (items[2], items[1]);
        _refuse(_certificate(), items, abi.encodeWithSelector(ItemOutOfRun.selector, 11));
        items = _items();
        items[2] = items[1];
        _refuse(_certificate(), items, abi.encodeWithSelector(ItemOutOfRun.selector, 11));
    }

    function test_rejects_wrong_proofs() public {
        bytes32[] memory one = new bytes32[](1);
        one[0] = keccak256("node");
        _refuse(_call(_certificate(), _items(), one), abi.encodeWithSelector(ProofTooLong.selector));
        Item[] memory four = new Item[](4);
        for (uint256 i = 0; i < 4; i++) {
            four[i] = _items()[i];
        }
        _refuse(_certificate(), four, abi.encodeWithSelector(ProofTooShort.selector));
        bytes32 root = keccak256(abi.encodePacked(hex"01", _fourRoot(), one[0]));
        bytes memory refusal = abi.encodeWithSelector(WrongRoot.selector, _certificate().checkpoint.root, root);
        _refuse(_call(_certificate(), four, one), refusal);
        one[0] = wire.leafHash(other, _items()[4]);
        registry.applyRun(_certificate(), four, one);
        vm.assertEq(_marks(), 4, "four of five");
    }

    function test_rejects_every_changed_field_of_an_event() public {
        for (uint256 field = 0; field < 5; field++) {
            Item[] memory items = _items();
            Event memory e = items[3].happened;
            if (field == 0) e.schema++;
            if (field == 1) e.kind++;
            if (field == 2) e.destinations = lanes(own, other);
            if (field == 3) e.subject = keccak256("changed");
            if (field == 4) e.body = abi.encode(Role.MIRROR, other);
            bytes32[] memory leaves = new bytes32[](5);
            for (uint256 i = 0; i < 5; i++) {
                leaves[i] = wire.leafHash(other, items[i]);
            }
            bytes32 root = _certificate().checkpoint.root;
            _refuse(_certificate(), items, abi.encodeWithSelector(WrongRoot.selector, root, rootOf(leaves)));
        }
    }

    function _fourRoot() private view returns (bytes32) {
        bytes32[] memory leaves = new bytes32[](4);
        for (uint256 i = 0; i < 4; i++) {
            leaves[i] = wire.leafHash(other, _items()[i]);
        }
        return rootOf(leaves);
    }

    /// @dev Any subset of any run proves its root, and no other root.
    function testFuzz_multiproofs(uint8 width_, uint256 picks, uint256 seed) public view {
        uint256 width = bound(width_, 1, 60);
        picks = picks % (1 << width) == 0 ? 1 : picks % (1 << width);
        Item[] memory items = new Item[](width);
        bytes32[] memory leaves = new bytes32[](width);
        for (uint256 i = 0; i < width; i++) {
            items[i] = Item(uint64(i + 1), answer(Kind.LOCKED, keccak256(abi.encode(seed, i))));
            leaves[i] = wire.leafHash(other, items[i]);
        }
        (Item[] memory picked, bytes32[] memory proof) = _prove(items, leaves, picks);
        Checkpoint memory c = Checkpoint(other, 1, 1, 1, uint64(width), rootOf(leaves), 1, 0);
        wire.checkRun(c, picked, proof);
    }

    // The multiproof made the plain way: the levels of the whole tree, and which of their nodes are known.
    function _prove(Item[] memory items, bytes32[] memory level, uint256 known)
        private
        pure
        returns (Item[] memory picked, bytes32[] memory proof)
    {
        picked = new Item[](items.length);
        proof = new bytes32[](items.length * 2);
        uint256 count = 0;
        for (uint256 i = 0; i < items.length; i++) {
            if (known >> i & 1 == 1) picked[count++] = items[i];
        }
        uint256 used = 0;
        while (level.length > 1) {
            bytes32[] memory above = new bytes32[]((level.length + 1) / 2);
            uint256 knownAbove = 0;
            for (uint256 i = 0; i < above.length; i++) {
                uint256 pair = known >> (2 * i) & 3;
                bool odd = 2 * i + 1 == level.length;
                above[i] = odd ? level[2 * i] : keccak256(abi.encodePacked(hex"01", level[2 * i], level[2 * i + 1]));
                if (pair != 0) knownAbove |= 1 << i;
                if (pair == 1 && !odd) proof[used++] = level[2 * i + 1];
                if (pair == 2) proof[used++] = level[2 * i];
            }
            (level, known) = (above, knownAbove);
        }
        assembly ("memory-safe") {
            mstore(picked, count)
            mstore(proof, used)
        }
    }

    // --- gas

    /// @dev Submitted with every gas limit on the way, a run is applied as a whole or not at all.
    function test_running_out_of_gas_marks_nothing() public {
        bytes memory call = _call(_certificate(), _items(), new bytes32[](0));
        uint256 before = vm.snapshotState();
        uint256 failures = 0;
        uint256 successes = 0;
        for (uint256 limit = 2000; successes < 3; limit += limit < 60_000 ? 1999 : 499) {
            (bool ok,) = address(registry).call{gas: limit}(call);
            if (ok) {
                successes++;
                vm.assertTrue(_marks() == 5 && stateOf(_id) == State.COMMITTED, "applied in part");
                vm.assertEq(registry.eventCount(), 2, "LOCKED, OUTCOME");
            } else {
                failures++;
                vm.assertTrue(_marks() == 0 && stateOf(_id) == State.LOCKED, "failed in part");
                vm.assertEq(registry.eventCount(), 1, "LOCKED");
            }
            vm.revertToState(before);
            before = vm.snapshotState();
        }
        vm.assertTrue(failures > 100, "the limits begin too high to show anything");
    }
}
