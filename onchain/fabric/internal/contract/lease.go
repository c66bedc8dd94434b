package contract

import (
	"crypto/sha256"

	"caimi.local/onchain/fabric/internal/wire"
)

const (
	purposeServe   = 1
	maxLeaseCalls  = 1 << 20
	maxLeaseLength = 86_400 // seconds
	maxPartialSize = 1024   // bytes
	partialField   = "partial"
)

// openLease records a host's bounded right to one publication's key.
func (r *registry) openLease(l wire.LeaseRequest, signature []byte, key wire.HostKey, operatorSignature []byte) error {
	operator, err := r.verifyHost(l, signature, key, operatorSignature)
	if err != nil {
		return err
	}
	if err := r.checkLane(l.At); err != nil {
		return err
	}
	id := wire.TypedDigest(r.network, l)
	if _, known := r.ledger.Lease(id); known {
		return nil
	}
	if err := r.checkRunning(); err != nil {
		return err
	}
	if r.now > l.Deadline {
		return wire.Expired.With(l.Deadline, r.now)
	}
	if present := r.presentEpoch(); l.Epoch != present {
		return wire.WrongEpoch.With(present, l.Epoch)
	}
	if _, err := r.accepting(key.Epoch); err != nil {
		return err
	}
	switch {
	case r.now > key.Until:
		return wire.HostKeyExpired.With(key.Until, r.now)
	case !r.lawfulLease(l, key):
		return wire.BadLease.With()
	}
	if err := r.countLease(l.Publication, operator); err != nil {
		return err
	}
	r.ledger.PutLease(id, l)
	r.out.Leases = append(r.out.Leases, id.Hex())
	return nil
}

func (r *registry) lawfulLease(l wire.LeaseRequest, key wire.HostKey) bool {
	return l.SealingKey == key.SealingKey && l.SigningKey == key.SigningKey && l.Purpose == purposeServe &&
		l.Calls >= 1 && l.Calls <= maxLeaseCalls &&
		l.End > r.now && l.End <= r.now+maxLeaseLength && l.End <= key.Until
}

// postPartial puts a validator's sealed partial, which comes as transient data, into the private collection.
func (r *registry) postPartial(p wire.PartialPost, signature []byte) error {
	lease, known := r.ledger.Lease(p.Lease)
	signers, wrongEpoch := r.accepting(lease.Epoch)
	if wrongEpoch != nil {
		signers = r.epochs().Present
	}
	if err := r.verifySeat(p, signature, signers.Validators, p.Index); err != nil {
		return err
	}
	if err := r.checkLane(p.At); err != nil {
		return err
	}
	if !known {
		return wire.UnknownLease.With(p.Lease)
	}
	if posted, ok := r.ledger.PartialHash(p.Lease, p.Index); ok {
		if posted != p.SealedHash {
			return wire.AlreadyPosted.With()
		}
		return nil
	}
	if wrongEpoch != nil {
		return wrongEpoch // its shares are erased
	}
	if r.now > lease.End {
		return wire.LeaseEnded.With(lease.End, r.now)
	}
	sealed := r.transient[partialField]
	if len(sealed) > maxPartialSize || sha256.Sum256(sealed) != p.SealedHash {
		return wire.WrongCommitment.With()
	}
	r.ledger.PutPartial(p.Lease, p.Index, p.SealedHash, sealed)
	r.out.Partials = append(r.out.Partials, partialNote{Lease: p.Lease.Hex(), Index: p.Index})
	return nil
}
