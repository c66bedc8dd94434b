// Package certificate checks signatures and certified runs (spec 20).
package certificate

import (
	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"

	"caimi.local/onchain/fabric/internal/wire"
)

// Recover gives the account that signed a digest with 65 bytes r || s || v: BadSignature, HighS.
func Recover(digest wire.Bytes32, signature []byte) (wire.Address, error) {
	if len(signature) != 65 {
		return wire.Address{}, wire.BadSignature.With()
	}
	return recoverParts(digest, wire.Bytes32(signature[:32]), wire.Bytes32(signature[32:64]), signature[64])
}

func recoverParts(digest, r, s wire.Bytes32, v uint8) (wire.Address, error) {
	if v != 27 && v != 28 {
		return wire.Address{}, wire.BadSignature.With()
	}
	var scalar secp256k1.ModNScalar
	if overflow := scalar.SetByteSlice(s[:]); overflow || scalar.IsOverHalfOrder() {
		return wire.Address{}, wire.HighS.With()
	}
	compact := append(append([]byte{v}, r[:]...), s[:]...)
	key, _, err := ecdsa.RecoverCompact(compact, digest[:])
	if err != nil {
		return wire.Address{}, wire.BadSignature.With()
	}
	hash := wire.Keccak256(key.SerializeUncompressed()[1:])
	return wire.Address(hash[12:]), nil
}
