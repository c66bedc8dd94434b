package certificate

import "caimi.local/onchain/fabric/internal/wire"

const maxValidators = 64

// Quorum is the number of signatures that make a certificate: floor((n+f)/2)+1 (spec 00 §4).
func Quorum(validators int, f uint8) int { return (validators+int(f))/2 + 1 }

// CheckGenesis refuses a descriptor outside the bounds of spec 00 §4: BadQuorum, BadValidatorSet.
func CheckGenesis(genesis wire.Genesis) error {
	if err := CheckSet(genesis.Validators, genesis.F, genesis.T); err != nil {
		return err
	}
	if len(genesis.Operators) == 0 || !distinct(genesis.Operators) {
		return wire.BadValidatorSet.With()
	}
	return nil
}

// CheckSet refuses a validator set outside the bounds of spec 00 §4: BadQuorum, BadValidatorSet.
func CheckSet(validators []wire.Address, tolerated, threshold uint8) error {
	n, f, t := len(validators), int(tolerated), int(threshold)
	if n > maxValidators || f < 1 || n < 3*f+1 || t < f+1 || t > n-f {
		return wire.BadQuorum.With(n, f, t)
	}
	if !distinct(validators) {
		return wire.BadValidatorSet.With()
	}
	return nil
}

func distinct(accounts []wire.Address) bool {
	seen := map[wire.Address]bool{{}: true} // nobody is the zero account
	for _, account := range accounts {
		if seen[account] {
			return false
		}
		seen[account] = true
	}
	return true
}

// Verify checks a certificate against the validator set of an epoch, in the order of spec 20 §3.
func Verify(
	certificate wire.Certificate, network wire.Bytes32, validators []wire.Address, f uint8, epoch uint64,
) error {
	if actual := certificate.Checkpoint.Epoch; actual != epoch {
		return wire.WrongEpoch.With(epoch, actual)
	}
	digest := wire.TypedDigest(network, certificate.Checkpoint)
	return VerifySigners(certificate.Signatures, digest, validators, Quorum(len(validators), f))
}

// VerifySigners checks that at least `needed` distinct validators signed a digest, in the order of spec 20 §3.
func VerifySigners(signatures []wire.Signature, digest wire.Bytes32, validators []wire.Address, needed int) error {
	if len(signatures) < needed {
		return wire.TooFewSignatures.With(needed, len(signatures))
	}
	before := -1
	for _, signature := range signatures {
		signer := int(signature.Signer)
		switch {
		case signer >= len(validators):
			return wire.UnknownSigner.With(signer)
		case signer == before:
			return wire.DuplicateSigner.With(signer)
		case signer < before:
			return wire.UnsortedSigners.With(signer)
		}
		before = signer
		account, err := recoverParts(digest, signature.R, signature.S, signature.V)
		if err != nil {
			return err
		}
		if account != validators[signer] {
			return wire.WrongSigner.With(validators[signer], account)
		}
	}
	return nil
}
