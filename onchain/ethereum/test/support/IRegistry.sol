// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {
    Answer,
    BatchProof,
    Certificate,
    EpochSet,
    Event,
    Genesis,
    Governance,
    HostKey,
    InferenceRequest,
    Item,
    Lane,
    Pause,
    Publication,
    Resume,
    Revocation,
    SetChange,
    Signature,
    Withdrawal
} from "../../src/libs/Records.sol";

/// @title The registry as its callers see it (spec 30 §3 and §6)
/// @notice Tests deploy the compiled artefact instead of importing the contract, whose optimised compilation is slow
/// and would be repeated for every test contract.
interface IRegistry {
    event Emitted(
        uint64 indexed sequence,
        uint16 schema,
        uint16 indexed kind,
        Lane[] destinations,
        bytes32 indexed subject,
        bytes body
    );
    event BatchIds(bytes32 indexed root, bytes32[] ids);
    event Applied(
        bytes32 indexed chain, bytes32 indexed registry, uint64 indexed sequence, uint8 disposition, uint16 code
    );
    event Braked(uint64 indexed counter, bool paused);
    event Funded(address indexed account, uint128 amount);
    event Withdrawn(address indexed account, address indexed recipient, uint128 amount);

    function lockModel(Publication calldata publication, bytes calldata signature) external returns (bytes32);
    function applyRun(Certificate calldata certificate, Item[] calldata items, bytes32[] calldata proof) external;
    function abort(bytes32 id) external;
    function abortUnlocked(Publication calldata publication, bytes calldata signature) external;
    function lockBatch(Publication[] calldata publications, bytes[] calldata signatures) external returns (bytes32);
    function answerBatch(Lane calldata home, bytes32 root) external;
    function abortBatch(bytes32 root) external;
    function takeOut(Publication calldata publication, bytes calldata signature, BatchProof calldata proof)
        external
        returns (bytes32);
    function withdraw(Withdrawal calldata withdrawal, bytes calldata signature) external;
    function fundWithPermit(address account, uint128 amount, uint256 deadline, uint8 v, bytes32 r, bytes32 s) external;
    function requestInference(InferenceRequest calldata request, bytes calldata signature) external returns (bytes32);
    function answerInference(
        Answer calldata answer,
        bytes calldata signature,
        HostKey calldata hostKey,
        bytes calldata operatorSignature
    ) external;
    function revoke(Revocation calldata revocation, bytes calldata signature) external;
    function pause(Pause calldata order, Signature[] calldata signatures) external;
    function resume(Resume calldata order, Signature[] calldata signatures) external;
    function govern(Governance calldata order, Signature[] calldata signatures) external;
    function multicall(bytes[] calldata calls) external returns (bytes[] memory);
    function attachEpochs(address code) external;
    function changeSet(SetChange calldata order, Signature[] calldata signatures, Signature[] calldata nextSignatures)
        external;
    function enterSet(EpochSet calldata next) external;
    function retireSet() external;

    function version() external view returns (uint16);
    function network() external view returns (bytes32);
    function lane() external view returns (Lane memory);
    function validatorSet() external view returns (uint64, uint8, uint8, address[] memory);
    function validatorSetOf(uint64 epoch) external view returns (uint64, uint8, uint8, address[] memory);
    function epochs() external view returns (uint64, bytes32, bytes32, uint64, bytes32);
    function acknowledged(Lane calldata lane) external view returns (uint64);
    function publication(bytes32 id)
        external
        view
        returns (
            uint8 role,
            uint8 state,
            address publisher,
            string memory name,
            uint64 version_,
            Lane memory home,
            Lane[] memory mirrors,
            uint128 deposit,
            uint64 deadline,
            uint8 awaited,
            uint8 reason
        );
    function batch(Lane calldata home, bytes32 root)
        external
        view
        returns (
            uint8 role,
            uint8 state,
            uint16 count,
            uint256 taken,
            uint64 earliest,
            uint64 latest,
            uint128 deposits,
            uint8 awaited,
            uint8 reason
        );
    function stateIn(bytes32 id, BatchProof calldata proof) external view returns (uint8 role, uint8 state);
    function root() external view returns (Lane memory);
    function governed(Lane calldata lane) external view returns (uint64, uint64, uint64, bytes32, bool);
    function brakes() external view returns (bool, uint64, uint64, uint64, uint128, uint128);
    function isRevoked(bytes32 id) external view returns (bool);
    function balance(address account) external view returns (uint128);
    function tokens(address account) external view returns (uint128);
    function receiptOf(bytes32 request) external view returns (bytes32);
    function isMarked(Lane calldata source, uint64 generation, uint64 sequence) external view returns (bool);
    function minDeposit() external view returns (uint128);
    function clockWindow() external view returns (uint64);
    function eventCount() external view returns (uint64);
    function token() external view returns (address);
}

/// @title The devnet's token as tests use it
interface IToken {
    function mint(address account, uint256 amount) external;
    function nonces(address account) external view returns (uint256);
    function balanceOf(address account) external view returns (uint256);
    function approve(address spender, uint256 amount) external returns (bool);
    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external;
    function DOMAIN_SEPARATOR() external view returns (bytes32);
}
