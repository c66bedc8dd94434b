// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.30;

import {CaimiWire} from "./CaimiWire.sol";
import {Cid, Lane, Publication, Terms} from "./Records.sol";
import {
    BadCid,
    BadMirrors,
    BadName,
    BadVersion,
    Refusals,
    UnsupportedExtension,
    UnsupportedFormat,
    UnsupportedKind,
    UnsupportedPolicy,
    UnsupportedTerms
} from "./Errors.sol";

/// @title Permanent reasons: what is wrong with a publication by its signed bytes alone (spec 30 §4)
library Publications {
    uint256 private constant MAX_MIRRORS = 7;

    // Bit c is set if the character c may stand at the edges of a name (a-z 0-9), or anywhere else in it (also . _ -).
    uint256 private constant AT_EDGES = ((1 << 26) - 1) << 0x61 | ((1 << 10) - 1) << 0x30;
    uint256 private constant WITHIN = AT_EDGES | 1 << 0x2e | 1 << 0x5f | 1 << 0x2d;

    /// @notice Code of the first permanent reason that holds, 0 if none does.
    function permanentReason(Publication calldata p) internal pure returns (uint16 code) {
        code = reasonBesidesMirrors(p);
        if (code == 0 && !_areMirrors(p.mirrors, p.home)) return Refusals.BAD_MIRRORS;
    }

    /// @notice The same where mirrors are known to be lawful: code of the first permanent reason, 0 if none holds.
    function reasonBesidesMirrors(Publication calldata p) internal pure returns (uint16) {
        if (p.format != 1) return Refusals.UNSUPPORTED_FORMAT;
        uint8 kind = p.kind;
        if (kind != 1 && kind != 2) return Refusals.UNSUPPORTED_KIND;
        if (!isName(bytes(p.name))) return Refusals.BAD_NAME;
        if (p.version < 1) return Refusals.BAD_VERSION;
        if (!isCid(p.ciphertext)) return Refusals.BAD_CID;
        if (p.policyHash != CaimiWire.POLICY_OPEN) return Refusals.UNSUPPORTED_POLICY;
        if (!_isFree(p.terms)) return Refusals.UNSUPPORTED_TERMS;
        if (p.extensionHash != 0) return Refusals.UNSUPPORTED_EXTENSION;
        return 0;
    }

    /// @notice Revert with the first permanent reason that holds.
    function check(Publication calldata p) internal pure {
        uint16 code = permanentReason(p);
        if (code != 0) refuse(p, code);
    }

    /// @notice Revert with the permanent reason that has this code.
    function refuse(Publication calldata p, uint16 code) internal pure {
        if (code == Refusals.UNSUPPORTED_FORMAT) revert UnsupportedFormat(p.format);
        if (code == Refusals.UNSUPPORTED_KIND) revert UnsupportedKind(p.kind);
        if (code == Refusals.BAD_NAME) revert BadName();
        if (code == Refusals.BAD_VERSION) revert BadVersion();
        if (code == Refusals.BAD_CID) revert BadCid(p.ciphertext.codec);
        if (code == Refusals.UNSUPPORTED_POLICY) revert UnsupportedPolicy(p.policyHash);
        if (code == Refusals.UNSUPPORTED_TERMS) revert UnsupportedTerms();
        if (code == Refusals.UNSUPPORTED_EXTENSION) revert UnsupportedExtension(p.extensionHash);
        revert BadMirrors();
    }

    /// @notice Refuse a CID that is not raw or dag-pb, or whose digest is zero.
    function checkCid(Cid calldata cid) internal pure {
        require(isCid(cid), BadCid(cid.codec));
    }

    /// @notice Whether a CID is raw or dag-pb and its digest is not zero.
    function isCid(Cid calldata cid) internal pure returns (bool) {
        uint8 codec = cid.codec;
        return (codec == 0x55 || codec == 0x70) && cid.digest != 0;
    }

    /// @notice Whether `name` is 1 to 64 of a-z 0-9 . _ - and begins and ends with a letter or digit.
    function isName(bytes calldata name) internal pure returns (bool) {
        uint256 length = name.length;
        if (length < 1 || length > 64) return false;
        uint256 lawful = (AT_EDGES >> uint8(name[0])) & (AT_EDGES >> uint8(name[length - 1]));
        uint256 within = WITHIN;
        assembly ("memory-safe") {
            for { let i := 0 } lt(i, length) { i := add(i, 1) } {
                lawful := and(lawful, shr(byte(0, calldataload(add(name.offset, i))), within))
            }
        }
        return lawful & 1 == 1;
    }

    function _isFree(Terms calldata terms) private pure returns (bool) {
        return terms.currency == 0 && terms.unit == 0 && terms.price == 0;
    }

    // 1 to 7, strictly ascending by (chain, registry), without the home.
    function _areMirrors(Lane[] calldata mirrors, Lane calldata home) private pure returns (bool) {
        if (mirrors.length < 1 || mirrors.length > MAX_MIRRORS) return false;
        for (uint256 i = 0; i < mirrors.length; i++) {
            Lane calldata one = mirrors[i];
            if (one.chain == home.chain && one.registry == home.registry) return false;
            if (i == 0) continue;
            Lane calldata before = mirrors[i - 1];
            if (before.chain > one.chain || (before.chain == one.chain && before.registry >= one.registry)) {
                return false;
            }
        }
        return true;
    }
}
