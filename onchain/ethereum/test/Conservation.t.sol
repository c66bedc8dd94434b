// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/Records.sol";
import {Batching} from "./support/Batching.sol";
import {Fixture} from "./support/Fixture.sol";

/// @notice Random lawful and unlawful calls by two publishers; what each call moved is counted.
contract Traffic is Batching {
    uint256[2] public keys = [PUBLISHER, STRANGER];
    uint256 public funded;
    uint256 public withdrawn;
    bytes32[] public ids;
    // Publications of each batch that was locked, encoded.
    bytes[] private _batches;
    bytes32[] private _roots;
    uint64 private _sequence = 1;
    uint64 private _version;
    uint64 private _time = NOW;

    constructor() {
        begin();
        funded = OPENING;
    }

    // Forge takes every public function for one to be called at random.
    function setUp() public override {}

    function fundSome(uint256 who, uint128 amount) external {
        amount = uint128(bound(amount, 1, 5000));
        fund(keys[who % 2], amount);
        funded += amount;
    }

    function withdrawSome(uint256 who, uint128 amount) external {
        uint256 key = keys[who % 2];
        amount = uint128(bound(amount, 0, 1500));
        Withdrawal memory w = Withdrawal(own, vm.addr(key), vm.addr(CONSUMER), amount, freshNonce(), _time);
        try registry.withdraw(w, sign(key, wire.hash(w))) {
            withdrawn += amount;
        } catch {}
    }

    function lockSome(uint256 who, uint128 deposit, bool two, bool lower) external {
        uint256 key = keys[who % 2];
        Publication memory p = publication(own, other);
        if (two) p.mirrors = lanes(other, third);
        (p.publisher, p.deposit) = (vm.addr(key), uint128(bound(deposit, 50, 900)));
        _version++;
        // Some commit below a version that is committed already.
        p.version = lower ? 1_000_000 - _version : 1_000_000 + _version;
        p.deadline = _time + 300;
        try registry.lockModel(p, sign(key, wire.hash(p))) returns (bytes32 id) {
            ids.push(id);
        } catch {}
    }

    function answerSome(uint256 which, bool refuse, bool byThird) external {
        if (ids.length == 0) return;
        bytes32 id = ids[which % ids.length];
        carry(byThird ? third : other, _sequence++, answer(refuse ? Kind.REFUSED : Kind.LOCKED, id));
    }

    function abortSome(uint256 which, uint16 later) external {
        if (ids.length == 0) return;
        _time += later % 200;
        vm.warp(_time);
        try registry.abort(ids[which % ids.length]) {} catch {}
    }

    function lockBatchSome(uint256 who, uint128 deposit, uint8 size) external {
        uint256 key = keys[who % 2];
        Publication[] memory ps = batchOf(bound(size, 1, 3), own, lanes(other));
        for (uint256 i = 0; i < ps.length; i++) {
            (ps[i].publisher, ps[i].deposit) = (vm.addr(key), uint128(bound(deposit, 50, 300)));
            (ps[i].name, ps[i].version) = ("digits", 1_000_000 + ++_version);
            ps[i].deadline = _time + 100 + uint64(i) * 100;
        }
        try registry.lockBatch(ps, signAll(key, ps)) returns (bytes32 root) {
            _batches.push(abi.encode(ps));
            _roots.push(root);
        } catch {}
    }

    function answerBatchSome(uint256 which, uint8 rules) external {
        if (_batches.length == 0) return;
        bytes32 root = _roots[which % _roots.length];
        carry(other, _sequence++, batchAnswer(root, rules % 4 == 0 ? 2 : 1));
    }

    function abortBatchSome(uint256 which, uint16 later) external {
        if (_batches.length == 0) return;
        _time += later % 200;
        vm.warp(_time);
        try registry.abortBatch(_roots[which % _roots.length]) {} catch {}
    }

    function takeOutSome(uint256 which, uint256 index) external {
        if (_batches.length == 0) return;
        Publication[] memory ps = _batchAt(which);
        Publication memory p = ps[index % ps.length];
        uint256 key = p.publisher == vm.addr(keys[0]) ? keys[0] : keys[1];
        bool fresh = stateOf(idOf(p)) == State.NONE;
        try registry.takeOut(p, sign(key, wire.hash(p)), proofOf(ps, index % ps.length)) returns (bytes32 id) {
            if (fresh) ids.push(id);
        } catch {}
    }

    function _batchAt(uint256 which) private view returns (Publication[] memory) {
        return abi.decode(_batches[which % _batches.length], (Publication[]));
    }

    function revokeSome(uint256 which) external {
        if (ids.length == 0) return;
        bytes32 id = ids[which % ids.length];
        (,, address publisher,,,,,,,,) = registry.publication(id);
        uint256 key = publisher == vm.addr(keys[0]) ? keys[0] : keys[1];
        Revocation memory r = Revocation(own, id, publisher, 0, freshNonce(), uint64(_time));
        try registry.revoke(r, sign(key, wire.hash(r))) {} catch {}
    }

    function count() external view returns (uint256) {
        return ids.length;
    }

    /// @notice Everything that the registry owes.
    function owed() external view returns (uint256 sum) {
        for (uint256 i = 0; i < 2; i++) {
            sum += registry.balance(vm.addr(keys[i]));
        }
        for (uint256 i = 0; i < ids.length; i++) {
            sum += _depositOf(ids[i]);
        }
        for (uint256 i = 0; i < _roots.length; i++) {
            (,,,,,, uint128 deposits,,) = registry.batch(own, _roots[i]);
            sum += deposits;
        }
    }

    function held() external view returns (uint256) {
        return token.balanceOf(address(registry));
    }

    /// @notice A deposit is held exactly while a publication is LOCKED or COMMITTED.
    function depositsFollowStates() external view returns (bool) {
        for (uint256 i = 0; i < ids.length; i++) {
            State state = stateOf(ids[i]);
            bool holds = state == State.LOCKED || state == State.COMMITTED;
            if (holds != (_depositOf(ids[i]) > 0)) return false;
        }
        return true;
    }

    /// @notice At most one version of a publisher's name is COMMITTED.
    function committed(uint256 who) external view returns (uint256 number) {
        for (uint256 i = 0; i < ids.length; i++) {
            (, uint8 state, address publisher,,,,,,,,) = registry.publication(ids[i]);
            if (publisher == vm.addr(keys[who]) && state == uint8(State.COMMITTED)) number++;
        }
    }

    function _depositOf(bytes32 id) private view returns (uint128 deposit) {
        (,,,,,,, deposit,,,) = registry.publication(id);
    }
}

/// @notice funded − withdrawn = balances + deposits = tokens held, whatever is called (spec 30 §5).
contract ConservationTest is Fixture {
    Traffic private _traffic;

    function setUp() public override {
        _traffic = new Traffic();
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_traffic);
    }

    // One function, because forge walks the same random way again for each.
    function invariant_money_is_conserved() public view {
        uint256 expected = _traffic.funded() - _traffic.withdrawn();
        vm.assertEq(_traffic.held(), expected, "tokens held");
        vm.assertEq(_traffic.owed(), expected, "balances and deposits");
        vm.assertTrue(_traffic.depositsFollowStates(), "a deposit without a reason, or none where one is due");
        vm.assertTrue(_traffic.committed(0) <= 1 && _traffic.committed(1) <= 1, "two versions committed");
    }
}
