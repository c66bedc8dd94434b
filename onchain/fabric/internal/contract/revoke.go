package contract

import (
	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

// Of a record's Revoked: its publisher's revocation is known here.
const revocationKnown uint8 = 1

// revoke takes a publication back for ever, by its publisher's word, and tells the other registries.
func (r *registry) revoke(v wire.Revocation, signature []byte) error {
	digest := wire.TypedDigest(r.network, v)
	if repeated, err := r.authorise(digest, v.Publisher, v.At, v.Nonce, signature); err != nil || repeated {
		return err
	}
	if r.now > v.Deadline {
		return wire.Expired.With(v.Deadline, r.now)
	}
	record, exists := r.ledger.Publication(v.Publication)
	if !exists {
		return wire.UnknownPublication.With(v.Publication)
	}
	if record.Publisher != v.Publisher {
		return wire.WrongSigner.With(record.Publisher, v.Publisher)
	}
	if fresh, err := r.takeRevocation(v.Publication, &record); err != nil || !fresh {
		return err // not fresh: another registry, or another signature here, has told it already
	}
	r.ledger.UseNonce(v.Publisher, v.Nonce, digest)
	var others []wire.Lane
	for _, lane := range registriesOf(record) {
		if lane != r.lane {
			others = append(others, lane)
		}
	}
	r.out.emit(wire.KindRevoked, others, v.Publication, wire.RevokedBody{Reason: v.Reason, At: r.lane})
	return nil
}

// applyRevocation is the same word, given at another registry of the publication, which tells all: here nothing is told.
func (r *registry) applyRevocation(source wire.Lane, id wire.Bytes32, at wire.Lane) (uint8, error) {
	if at != source {
		return refused, wire.WrongAuthority.With()
	}
	record, exists := r.ledger.Publication(id)
	if !exists {
		r.ledger.RevokeEarly(id, source)
		return pending, nil
	}
	if !contains(registriesOf(record), source) {
		return refused, wire.WrongAuthority.With()
	}
	fresh, err := r.takeRevocation(id, &record)
	switch {
	case err != nil:
		return refused, err
	case !fresh:
		return ignored, nil
	case record.State == stateLocked:
		return pending, nil
	}
	return applied, nil
}

// takeRevocation takes effect at once, or while LOCKED together with COMMITTED; false if it was known: AlreadyDecided.
func (r *registry) takeRevocation(id wire.Bytes32, record *state.Publication) (fresh bool, err error) {
	if record.State == stateAborted || record.State == stateRefused {
		return false, wire.AlreadyDecided.With(record.State)
	}
	if record.Revoked == revocationKnown {
		return false, nil
	}
	record.Revoked = revocationKnown
	if record.State != stateLocked {
		if err := r.revokeRecord(record); err != nil {
			return false, err
		}
	}
	r.ledger.PutPublication(id, *record)
	return true, nil
}

// revokeRecord: the deposit goes back if it was still held.
func (r *registry) revokeRecord(record *state.Publication) error {
	r.giveBack(record)
	return advance(record, inputRevoked)
}

// meetRevocations lets what registries told before the lock here wait with it for the outcome.
func (r *registry) meetRevocations(id wire.Bytes32, record *state.Publication) {
	if r.isRevokedEarly(id, record.Home, record.Mirrors) {
		record.Revoked = revocationKnown
	}
}

func (r *registry) isRevokedEarly(id wire.Bytes32, home wire.Lane, mirrors []wire.Lane) bool {
	told := r.ledger.IsRevokedEarly(id, home)
	for _, mirror := range mirrors {
		told = r.ledger.IsRevokedEarly(id, mirror) || told
	}
	return told
}

func registriesOf(record state.Publication) []wire.Lane {
	return append([]wire.Lane{record.Home}, record.Mirrors...)
}
