// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {SafeCast} from "@openzeppelin/contracts/utils/math/SafeCast.sol";
import {RegistryStorage} from "./RegistryStorage.sol";
import {CaimiWire} from "./libs/CaimiWire.sol";
import {Lane} from "./libs/Records.sol";

/// @title Lanes, and the registries of publications, by number
/// @notice A number takes 4 bytes of a record, a lane two slots.
abstract contract Parties is RegistryStorage {
    // --- lanes by number

    function _numberOf(Lane calldata lane) internal returns (uint32 number) {
        bytes32 key = CaimiWire.laneKey(lane);
        number = _laneNumbers[key];
        if (number == 0) {
            _lanes.push(lane);
            number = SafeCast.toUint32(_lanes.length);
            _laneNumbers[key] = number;
        }
    }

    function _laneAt(uint32 number) internal view returns (Lane memory) {
        return _lanes[number - 1];
    }

    function _keyAt(uint32 number) internal view returns (bytes32) {
        Lane storage lane = _lanes[number - 1];
        return CaimiWire.laneKey(lane.chain, lane.registry);
    }

    // --- parties by number

    function _partiesOf(Lane calldata home, Lane[] calldata mirrors) internal returns (uint32 parties) {
        bytes32 key = keccak256(abi.encode(CaimiWire.laneKey(home), CaimiWire.concatHash(mirrors)));
        parties = _partiesNumbers[key];
        if (parties != 0) return parties;
        parties = ++_partiesCount;
        _partiesNumbers[key] = parties;
        for (uint256 i = 0; i <= mirrors.length; i++) {
            uint256 lane = _numberOf(i == 0 ? home : mirrors[i - 1]);
            _parties[_partyKey(parties, i)] |= lane << ((i & 7) << 5);
        }
    }

    // Number of the lane at a place of the list, 0 behind its end.
    function _partyAt(uint32 parties, uint256 place) internal view returns (uint32) {
        return uint32(_parties[_partyKey(parties, place)] >> ((place & 7) << 5));
    }

    function _partyKey(uint32 parties, uint256 place) private pure returns (uint256) {
        return uint256(parties) << 32 | place >> 3;
    }

    function _mirrorsOf(uint32 parties) internal view returns (Lane[] memory lanes) {
        uint256 count = 0;
        while (_partyAt(parties, count + 1) != 0) count++;
        lanes = new Lane[](count);
        for (uint256 i = 0; i < count; i++) {
            lanes[i] = _laneAt(_partyAt(parties, i + 1));
        }
    }

    // Place of a lane among the mirrors.
    function _mirrorPlace(uint32 parties, bytes32 lane) internal view returns (uint256 place) {
        uint32 wanted = _laneNumbers[lane];
        uint32 one = _partyAt(parties, 1);
        while (one != wanted && one != 0) one = _partyAt(parties, ++place + 1);
        return one == 0 ? NOWHERE : place;
    }
}
