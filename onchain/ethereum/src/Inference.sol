// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {Parties} from "./Parties.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {Answer, HostKey, InferenceRequest, Kind, Role, State} from "./libs/Records.sol";
import {
    Expired,
    HostKeyExpired,
    NotCommitted,
    UnknownOperator,
    UnknownPublication,
    UnknownRequest,
    WrongCommitment,
    WrongEpoch,
    WrongSigner
} from "./libs/Errors.sol";
import {Publications} from "./libs/Publications.sol";
import {Signatures} from "./libs/Signatures.sol";

/// @title Requests and answers by the registry path (spec 30 §3)
abstract contract Inference is Parties {
    /// @notice Record a request for one answer from a COMMITTED publication. Anyone may submit it.
    /// @param request what the consumer signed
    /// @param signature the consumer's, 65 bytes r ‖ s ‖ v
    /// @return id digest of the request
    function requestInference(InferenceRequest calldata request, bytes calldata signature)
        external
        onOwnChain
        returns (bytes32 id)
    {
        // AUTHORITY
        id = _verifySigner(CaimiWire.hash(request), signature, request.consumer);
        _checkLane(request.target);
        // REPEAT
        if (_isRepeated(request.consumer, request.nonce, id)) return id;
        // CHECKS
        _checkRunning();
        require(_now() <= request.deadline, Expired(request.deadline, _now()));
        PublicationRecord storage record = _publications[request.publication];
        require(record.role != Role.NONE, UnknownPublication(request.publication));
        require(record.state == State.COMMITTED, NotCommitted(uint8(record.state)));
        Publications.checkCid(request.input);
        // EFFECTS
        _nonces[request.consumer][request.nonce] = id;
        RequestRecord storage asked = _requests[id];
        asked.asked = _asked(request.publication, request.inputCommitment);
        asked.deadline = request.deadline;
        // EVENT
        bytes memory body = abi.encode(
            id, request.consumer, request.input, request.inputCommitment, request.clientKey, request.deadline
        );
        _emitTo(Kind.REQUESTED, request.target, request.publication, body);
    }

    /// @notice Record a host's signed answer to a request made here. Anyone may submit it.
    /// @param answer what the host signed
    /// @param signature by the host key's signing key, 65 bytes r ‖ s ‖ v
    /// @param hostKey keys of this start of the host
    /// @param operatorSignature on the host key by an operator of the genesis descriptor, 65 bytes r ‖ s ‖ v
    function answerInference(
        Answer calldata answer,
        bytes calldata signature,
        HostKey calldata hostKey,
        bytes calldata operatorSignature
    ) external onOwnChain {
        // AUTHORITY
        address operator =
            Signatures.recover(CaimiWire.typedDigest(_domain, CaimiWire.hash(hostKey)), operatorSignature);
        require(_isOperator[operator], UnknownOperator(operator));
        _verifySigner(CaimiWire.hash(answer), signature, hostKey.signingKey);
        _checkLane(answer.target);
        RequestRecord storage request = _requests[answer.request];
        require(request.asked != 0, UnknownRequest(answer.request));
        // REPEAT
        if (request.receiptHash != 0) return;
        // CHECKS
        require(hostKey.epoch == _epoch || _isBefore(hostKey.epoch), WrongEpoch(_epoch, hostKey.epoch));
        require(_now() <= hostKey.until, HostKeyExpired(hostKey.until, _now()));
        require(_now() <= request.deadline, Expired(request.deadline, _now()));
        require(request.asked == _asked(answer.publication, answer.inputCommitment), WrongCommitment());
        require(answer.receiptHash != 0, WrongCommitment());
        Publications.checkCid(answer.output);
        // EFFECTS
        request.receiptHash = answer.receiptHash;
        // EVENT
        _emitTo(
            Kind.ANSWERED,
            _laneAt(_partyAt(_publications[answer.publication].parties, 0)),
            answer.publication,
            abi.encode(answer.request, answer.receiptHash, answer.output)
        );
    }

    /// @notice Receipt hash of a request answered here, or carried here from the mirror that took it; zero if none.
    /// @param request id of the request
    function receiptOf(bytes32 request) external view returns (bytes32) {
        bytes32 own = _requests[request].receiptHash;
        return own != 0 ? own : _carriedReceipts[request];
    }

    function _asked(bytes32 publication, bytes32 inputCommitment) private pure returns (bytes32) {
        return keccak256(abi.encode(publication, inputCommitment));
    }
}
