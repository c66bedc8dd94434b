// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import "../src/libs/Records.sol";
import {IRegistry, IToken} from "./support/IRegistry.sol";
import {Permits} from "./support/Permits.sol";
import {Suite} from "./support/Suite.sol";
import {Log} from "./support/Vm.sol";
import {WireHarness} from "./support/WireHarness.sol";

/// @notice Plays vectors/registry/ethereum*.json: each scenario on a registry of its own at the scenario's address.
contract RegistryVectorsTest is Suite {
    bytes32 private constant EMITTED = keccak256("Emitted(uint64,uint16,uint16,(bytes32,bytes32)[],bytes32,bytes)");
    bytes32 private constant BATCH_IDS = keccak256("BatchIds(bytes32,bytes32[])");
    bytes32 private constant APPLIED = keccak256("Applied(bytes32,bytes32,uint64,uint8,uint16)");

    WireHarness private _wire;
    // Registries of the suite of epochs run `CaimiEpochs`; the others do not know it.
    bool private _attached;

    function setUp() public {
        _wire = new WireHarness();
    }

    function test_scenarios() public {
        _play("registry/ethereum.json", 24);
    }

    function test_brakes() public {
        _play("registry/ethereum-brakes.json", 28);
    }

    function test_batches() public {
        _play("registry/ethereum-batches.json", 23);
    }

    function test_epochs() public {
        _attached = true;
        _play("registry/ethereum-epochs.json", 17);
    }

    function _play(string memory name, uint256 least) private {
        string memory json = load(name);
        bytes32 network = vm.parseJsonBytes32(json, ".network");
        string[] memory cases = cut(json, "cases");
        vm.assertTrue(cases.length >= least, "cases");
        for (uint256 i = 0; i < cases.length; i++) {
            uint256 before = vm.snapshotState();
            this.play(cases[i], network);
            vm.revertToState(before);
        }
    }

    function test_creations() public {
        string[] memory cases = cut(load("registry/creation.json"), "cases");
        vm.assertTrue(cases.length >= 12, "cases");
        IToken token = deployToken(address(this));
        for (uint256 i = 0; i < cases.length; i++) {
            string memory json = cases[i];
            bytes memory creation = _creation(json, token);
            if (!vm.keyExistsJson(json, ".error")) {
                vm.assertEq(this.made(creation), vm.parseJsonBytes32(json, ".network"), title(json));
                continue;
            }
            string memory wanted = vm.parseJsonString(json, ".error");
            vm.expectRevert(bytes.concat(_selector(wanted), vm.parseJsonBytes(json, ".arguments")));
            this.made(creation);
        }
    }

    function made(bytes calldata creation) external returns (bytes32 network) {
        return IRegistry(create(creation)).network();
    }

    function play(string calldata json, bytes32 network) external {
        Lane memory own = abi.decode(vm.parseJsonBytes(json, ".config.lane"), (Lane));
        (IRegistry registry, IToken token) = _deploy(json, own);
        vm.assertEq(registry.network(), network, title(json));
        vm.assertEq(abi.encode(registry.lane()), abi.encode(own), title(json));
        _fund(json, registry, token);
        vm.recordLogs();
        string[] memory steps = cut(json, "steps");
        Log[] memory logs = new Log[](0);
        for (uint256 i = 0; i < steps.length; i++) {
            bool ok = this.step(steps[i], registry, string.concat(title(json), ", step ", vm.toString(i)));
            // The cheatcode also shows what a call logged before it was reverted.
            Log[] memory more = vm.getRecordedLogs();
            if (ok) logs = _concat(logs, more);
        }
        _checkLogs(json, own, logs);
        _checkPublications(json, registry);
        _checkBatches(json, registry);
        _checkBalances(json, registry, token);
        _checkBrakes(json, registry);
        if (_attached) _checkEpochs(json, registry);
    }

    function step(string calldata json, IRegistry registry, string calldata name) external returns (bool ok) {
        vm.warp(vm.parseJsonUint(json, ".now"));
        bytes memory answer;
        (ok, answer) = address(registry).call(vm.parseJsonBytes(json, ".call"));
        if (vm.keyExistsJson(json, ".error")) {
            vm.assertTrue(!ok, string.concat(name, " was not refused"));
            bytes memory arguments = vm.parseJsonBytes(json, ".arguments");
            string memory wanted = vm.parseJsonString(json, ".error");
            // The decoder of solc refuses without a word (spec 10 §2).
            if (answer.length == 0 && keccak256(bytes(wanted)) == keccak256("BadEncoding")) return false;
            vm.assertEq(answer, bytes.concat(_selector(wanted), arguments), string.concat(name, " ", wanted));
        } else {
            vm.assertTrue(ok, string.concat(name, " was refused"));
        }
        vm.assertEq(registry.eventCount(), vm.parseJsonUint(json, ".events"), name);
    }

    function _deploy(string memory json, Lane memory own) private returns (IRegistry, IToken) {
        IToken token = deployToken(address(this));
        address where = address(uint160(uint256(own.registry)));
        deployAt(where, _creation(json, token));
        if (_attached) IRegistry(where).attachEpochs(create(vm.getCode("CaimiEpochs.sol:CaimiEpochs")));
        return (IRegistry(where), token);
    }

    function _creation(string memory json, IToken token) private view returns (bytes memory) {
        bytes memory arguments = abi.encode(
            abi.decode(vm.parseJsonBytes(json, ".config.genesis"), (Genesis)),
            uint128(vm.parseJsonUint(json, ".config.minDeposit")),
            uint64(vm.parseJsonUint(json, ".config.clockWindow")),
            uint64(vm.parseJsonUint(json, ".config.resumeDelay")),
            uint128(vm.parseJsonUint(json, ".config.withdrawalCap")),
            address(token),
            abi.decode(vm.parseJsonBytes(json, ".config.root"), (Lane))
        );
        return bytes.concat(vm.getCode("CaimiRegistry.sol:CaimiRegistry"), arguments);
    }

    function _fund(string memory json, IRegistry registry, IToken token) private {
        for (uint256 i = 0; vm.keyExistsJson(json, item(".accounts", i)); i++) {
            string memory key = item(".accounts", i);
            uint256 secret = uint256(vm.parseJsonBytes32(json, string.concat(key, ".secret")));
            address account = vm.parseJsonAddress(json, string.concat(key, ".address"));
            uint128 amount = uint128(vm.parseJsonUint(json, string.concat(key, ".balance")));
            token.mint(account, amount);
            bytes32 digest = Permits.digest(token, account, address(registry), amount, type(uint64).max);
            (uint8 v, bytes32 r, bytes32 s) = vm.sign(secret, digest);
            registry.fundWithPermit(account, amount, type(uint64).max, v, r, s);
        }
    }

    function _concat(Log[] memory front, Log[] memory back) private pure returns (Log[] memory all) {
        all = new Log[](front.length + back.length);
        for (uint256 i = 0; i < all.length; i++) {
            all[i] = i < front.length ? front[i] : back[i - front.length];
        }
    }

    function _checkLogs(string memory json, Lane memory own, Log[] memory logs) private view {
        uint256 leaves = 0;
        uint256 notes = 0;
        uint256 batches = 0;
        for (uint256 i = 0; i < logs.length; i++) {
            if (logs[i].topics[0] == EMITTED) {
                Item memory one = _itemOf(logs[i]);
                bytes32 expected = vm.parseJsonBytes32(json, item(".leaves", leaves++));
                vm.assertEq(one.sequence, leaves, title(json));
                vm.assertEq(_wire.leafHash(own, one), expected, title(json));
            } else if (logs[i].topics[0] == APPLIED) {
                uint256[] memory note = vm.parseJsonUintArray(json, item(".applied", notes++));
                (uint8 disposition, uint16 code) = abi.decode(logs[i].data, (uint8, uint16));
                vm.assertEq(uint256(logs[i].topics[3]), note[0], title(json));
                vm.assertEq(disposition, note[1], string.concat(title(json), ", disposition"));
                vm.assertEq(code, note[2], string.concat(title(json), ", code"));
            } else if (logs[i].topics[0] == BATCH_IDS) {
                string memory key = item(".batchIds", batches++);
                vm.assertEq(logs[i].topics[1], vm.parseJsonBytes32(json, string.concat(key, ".root")), title(json));
                bytes32[] memory ids = vm.parseJsonBytes32Array(json, string.concat(key, ".ids"));
                vm.assertEq(logs[i].data, abi.encode(ids), string.concat(title(json), ", ids"));
            }
        }
        vm.assertTrue(!vm.keyExistsJson(json, item(".leaves", leaves)), string.concat(title(json), ", leaves"));
        vm.assertTrue(!vm.keyExistsJson(json, item(".batchIds", batches)), string.concat(title(json), ", ids"));
        vm.assertTrue(!vm.keyExistsJson(json, item(".applied", notes)), string.concat(title(json), ", applied"));
    }

    function _itemOf(Log memory log) private pure returns (Item memory) {
        (uint16 schema, Lane[] memory destinations, bytes memory body) = abi.decode(log.data, (uint16, Lane[], bytes));
        uint16 kind = uint16(uint256(log.topics[2]));
        return Item(uint64(uint256(log.topics[1])), Event(schema, kind, destinations, log.topics[3], body));
    }

    function _checkPublications(string memory json, IRegistry registry) private view {
        for (uint256 i = 0; vm.keyExistsJson(json, item(".publications", i)); i++) {
            string memory key = item(".publications", i);
            bytes32 id = vm.parseJsonBytes32(json, string.concat(key, ".id"));
            (uint8 role, uint8 state,,,,,, uint128 deposit,, uint8 awaited, uint8 reason) = registry.publication(id);
            string memory name = string.concat(title(json), ", ", key);
            vm.assertEq(role, vm.parseJsonUint(json, string.concat(key, ".role")), name);
            vm.assertEq(state, vm.parseJsonUint(json, string.concat(key, ".state")), name);
            vm.assertEq(deposit, vm.parseJsonUint(json, string.concat(key, ".deposit")), name);
            vm.assertEq(awaited, vm.parseJsonUint(json, string.concat(key, ".awaited")), name);
            vm.assertEq(reason, vm.parseJsonUint(json, string.concat(key, ".reason")), name);
            vm.assertTrue(registry.isRevoked(id) == vm.parseJsonBool(json, string.concat(key, ".revoked")), name);
        }
    }

    // Only scenarios with batches have these lists.
    function _checkBatches(string memory json, IRegistry registry) private view {
        for (uint256 i = 0; vm.keyExistsJson(json, item(".batches", i)); i++) {
            string memory key = item(".batches", i);
            string[9] memory names =
                ["role", "state", "count", "taken", "earliest", "latest", "deposits", "awaited", "reason"];
            uint256[9] memory wanted;
            for (uint256 j = 0; j < 9; j++) {
                wanted[j] = vm.parseJsonUint(json, string.concat(key, ".", names[j]));
            }
            Lane memory home = abi.decode(vm.parseJsonBytes(json, string.concat(key, ".home")), (Lane));
            bytes32 root = vm.parseJsonBytes32(json, string.concat(key, ".root"));
            (bool ok, bytes memory answer) = address(registry).staticcall(abi.encodeCall(registry.batch, (home, root)));
            vm.assertTrue(ok, "batch");
            vm.assertEq(answer, abi.encode(wanted), string.concat(title(json), ", ", key));
        }
        for (uint256 i = 0; vm.keyExistsJson(json, item(".states", i)); i++) {
            _checkSeen(json, item(".states", i), registry);
        }
    }

    function _checkSeen(string memory json, string memory key, IRegistry registry) private view {
        bytes32 id = vm.parseJsonBytes32(json, string.concat(key, ".id"));
        BatchProof memory proof = abi.decode(vm.parseJsonBytes(json, string.concat(key, ".proof")), (BatchProof));
        (bool ok, bytes memory answer) = address(registry).staticcall(abi.encodeCall(registry.stateIn, (id, proof)));
        bytes memory wanted;
        bool refused = vm.keyExistsJson(json, string.concat(key, ".error"));
        if (refused) {
            bytes4 selector = _selector(vm.parseJsonString(json, string.concat(key, ".error")));
            wanted = bytes.concat(selector, vm.parseJsonBytes(json, string.concat(key, ".arguments")));
        } else {
            uint256 role = vm.parseJsonUint(json, string.concat(key, ".role"));
            wanted = abi.encode(role, vm.parseJsonUint(json, string.concat(key, ".state")));
        }
        vm.assertTrue(ok != refused, string.concat(title(json), ", ", key));
        vm.assertEq(answer, wanted, string.concat(title(json), ", ", key));
    }

    function _checkBrakes(string memory json, IRegistry registry) private view {
        (bool paused, uint64 counter, uint64 since,,, uint128 withdrawn) = registry.brakes();
        vm.assertTrue(paused == vm.parseJsonBool(json, ".brakes[0]"), string.concat(title(json), ", paused"));
        vm.assertEq(counter, vm.parseJsonUint(json, ".brakes[1]"), string.concat(title(json), ", counter"));
        vm.assertEq(since, vm.parseJsonUint(json, ".brakes[2]"), string.concat(title(json), ", since"));
        vm.assertEq(withdrawn, vm.parseJsonUint(json, ".withdrawn"), string.concat(title(json), ", withdrawn"));
        for (uint256 i = 0; vm.keyExistsJson(json, item(".governed", i)); i++) {
            _checkGoverned(json, item(".governed", i), registry);
        }
    }

    // Without the object it is the first epoch, and no other is announced.
    function _checkEpochs(string memory json, IRegistry registry) private view {
        bool known = vm.keyExistsJson(json, ".epochs");
        (, bytes memory said) = address(registry).staticcall(abi.encodeCall(IRegistry.epochs, ()));
        vm.assertEq(said, known ? _wantedEpochs(json) : new bytes(5 * 32), string.concat(title(json), ", epochs"));
        (uint64 epoch, uint8 f, uint8 t, address[] memory validators) = registry.validatorSet();
        if (!known) {
            vm.assertEq(epoch, 1, title(json));
            return;
        }
        uint256[] memory present = vm.parseJsonUintArray(json, ".epochs.present");
        bool same = epoch == present[0] && f == present[1] && t == present[2];
        vm.assertTrue(same, string.concat(title(json), ", present"));
        _checkMembers(json, validators);
        _checkAcknowledged(json, registry);
        _checkSetsOf(registry, epoch, uint64(vm.parseJsonUint(json, ".epochs.before")));
    }

    function _wantedEpochs(string memory json) private pure returns (bytes memory) {
        return abi.encode(
            vm.parseJsonUint(json, ".epochs.before"),
            vm.parseJsonBytes32(json, ".epochs.set"),
            vm.parseJsonBytes32(json, ".epochs.transcript"),
            vm.parseJsonUint(json, ".epochs.announced"),
            vm.parseJsonBytes32(json, ".epochs.announcedSet")
        );
    }

    function _checkMembers(string memory json, address[] memory validators) private view {
        for (uint256 i = 0; i < validators.length; i++) {
            vm.assertEq(validators[i], vm.parseJsonAddress(json, item(".epochs.validators", i)), title(json));
        }
        vm.assertTrue(!vm.keyExistsJson(json, item(".epochs.validators", validators.length)), title(json));
    }

    function _checkAcknowledged(string memory json, IRegistry registry) private view {
        for (uint256 i = 0; vm.keyExistsJson(json, item(".epochs.acknowledged", i)); i++) {
            string memory key = item(".epochs.acknowledged", i);
            Lane memory lane = abi.decode(vm.parseJsonBytes(json, string.concat(key, ".lane")), (Lane));
            vm.assertEq(registry.acknowledged(lane), vm.parseJsonUint(json, string.concat(key, ".epoch")), title(json));
        }
    }

    function _checkSetsOf(IRegistry registry, uint64 present, uint64 before) private view {
        uint64[3] memory asked = [present, before, 77];
        for (uint256 i = 0; i < 3; i++) {
            bool counts = asked[i] != 0 && asked[i] != 77;
            (uint64 epoch,,, address[] memory validators) = registry.validatorSetOf(asked[i]);
            vm.assertEq(epoch, counts ? asked[i] : 0, "validatorSetOf");
            vm.assertTrue(counts == (validators.length != 0), "validatorSetOf");
        }
    }

    function _checkGoverned(string memory json, string memory key, IRegistry registry) private view {
        string memory name = string.concat(title(json), ", ", key);
        Lane memory lane = abi.decode(vm.parseJsonBytes(json, string.concat(key, ".lane")), (Lane));
        (uint64 version, uint64 generation, uint64 height, bytes32 blockHash, bool dropped) = registry.governed(lane);
        vm.assertEq(version, vm.parseJsonUint(json, string.concat(key, ".version")), name);
        vm.assertEq(generation, vm.parseJsonUint(json, string.concat(key, ".generation")), name);
        vm.assertEq(height, vm.parseJsonUint(json, string.concat(key, ".height")), name);
        vm.assertEq(blockHash, vm.parseJsonBytes32(json, string.concat(key, ".blockHash")), name);
        vm.assertTrue(dropped == vm.parseJsonBool(json, string.concat(key, ".dropped")), name);
    }

    function _checkBalances(string memory json, IRegistry registry, IToken token) private view {
        uint256 held = 0;
        for (uint256 i = 0; vm.keyExistsJson(json, item(".balances", i)); i++) {
            string memory key = item(".balances", i);
            address account = vm.parseJsonAddress(json, string.concat(key, ".address"));
            held += registry.balance(account);
            uint256 expected = vm.parseJsonUint(json, string.concat(key, ".balance"));
            vm.assertEq(registry.balance(account), expected, title(json));
        }
        for (uint256 i = 0; vm.keyExistsJson(json, item(".publications", i)); i++) {
            held += vm.parseJsonUint(json, string.concat(item(".publications", i), ".deposit"));
        }
        for (uint256 i = 0; vm.keyExistsJson(json, item(".batches", i)); i++) {
            held += vm.parseJsonUint(json, string.concat(item(".batches", i), ".deposits"));
        }
        vm.assertEq(token.balanceOf(address(registry)), held, string.concat(title(json), ", tokens held"));
    }

    // Only these have arguments; the artefact's errors are the same table (tools/gen_errors.py).
    function _selector(string memory name) private pure returns (bytes4) {
        string[2][30] memory table = [
            ["OutOfRange", "uint256,uint256"],
            ["BadQuorum", "uint256,uint256,uint256"],
            ["WrongSigner", "address,address"],
            ["WrongRegistry", "bytes32,bytes32"],
            ["NonceUsed", "bytes32"],
            ["Expired", "uint64,uint64"],
            ["UnknownOperator", "address"],
            ["TooFewSignatures", "uint256,uint256"],
            ["WrongEpoch", "uint64,uint64"],
            ["WrongGeneration", "uint64,uint64"],
            ["RunTooLong", "uint256,uint256"],
            ["ItemOutOfRun", "uint64"],
            ["WrongRoot", "bytes32,bytes32"],
            ["UnsupportedFormat", "uint256"],
            ["UnsupportedKind", "uint256"],
            ["UnsupportedPolicy", "bytes32"],
            ["UnsupportedExtension", "bytes32"],
            ["BadCid", "uint256"],
            ["PastDeadline", "uint64,uint64"],
            ["NearDeadline", "uint64,uint64"],
            ["SmallDeposit", "uint128,uint128"],
            ["LowBalance", "uint128,uint128"],
            ["DeadlineNotPassed", "uint64,uint64"],
            ["HostKeyExpired", "uint64,uint64"],
            ["WrongCounter", "uint64,uint64"],
            ["TooEarly", "uint64,uint64"],
            ["CapReached", "uint256,uint256"],
            ["BatchTooLong", "uint256,uint256"],
            ["BatchItem", "uint16,uint16"],
            ["UnknownBatch", "bytes32"]
        ];
        string memory arguments = "";
        bytes32 wanted = keccak256(bytes(name));
        for (uint256 i = 0; i < table.length; i++) {
            if (keccak256(bytes(table[i][0])) == wanted) arguments = table[i][1];
        }
        bool ofState = wanted == keccak256("NotLocked") || wanted == keccak256("NotCommitted");
        bool ofSigner = wanted == keccak256("DuplicateSigner") || wanted == keccak256("UnsortedSigners");
        if (ofSigner || wanted == keccak256("UnknownSigner")) arguments = "uint256";
        if (ofState || wanted == keccak256("AlreadyDecided")) arguments = "uint8";
        if (wanted == keccak256("NotRetired")) arguments = "uint64";
        if (wanted == keccak256("NotAcknowledged") || wanted == keccak256("UnknownSet")) arguments = "bytes32";
        if (wanted == keccak256("UnknownPublication") || wanted == keccak256("UnknownRequest")) arguments = "bytes32";
        return bytes4(keccak256(bytes(string.concat(name, "(", arguments, ")"))));
    }
}
