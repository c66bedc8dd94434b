package contract

import (
	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

func advance(record *state.Publication, happened input) error {
	next, err := step(record.Role, record.State, happened)
	record.State = next
	return err
}

// abort: anyone may, at home, after the deadline.
func (r *registry) abort(id wire.Bytes32) error {
	record, known := r.ledger.Publication(id)
	switch {
	case !known:
		return wire.UnknownPublication.With(id)
	case record.Role != roleHome:
		return wire.NotHome.With()
	case record.State == stateAborted:
		return nil
	case record.State != stateLocked:
		return wire.NotLocked.With(record.State)
	case r.now <= record.Deadline:
		return wire.DeadlineNotPassed.With(record.Deadline, r.now)
	}
	return r.abortHome(id, record, inputDeadline, reasonDeadline)
}

// abortUnlocked records ABORTED for signed bytes that home never locked; it uses no name, version or nonce.
func (r *registry) abortUnlocked(p wire.Publication, signature []byte) error {
	id, err := r.verifyPublisher(p, signature)
	if err != nil {
		return err
	}
	if p.Home != r.lane {
		return wire.NotHome.With()
	}
	if _, known := r.ledger.Publication(id); known {
		return r.abort(id)
	}
	if r.isLockedHere(id, p) {
		return wire.InBatch.With()
	}
	if err := checkPublication(p); err != nil {
		return err
	}
	if r.now <= p.Deadline {
		return wire.DeadlineNotPassed.With(p.Deadline, r.now)
	}
	return r.abortHome(id, newRecord(p, roleHome), inputNeverLocked, reasonNeverLocked)
}

// abortHome gives the deposit back and tells the mirrors.
func (r *registry) abortHome(id wire.Bytes32, record state.Publication, happened input, reason uint8) error {
	r.out.emit(wire.KindOutcome, record.Mirrors, id, wire.OutcomeBody{State: stateAborted, Reason: uint16(reason)})
	return r.settleAbort(id, record, happened, reason)
}

// settleAbort gives the deposit back. Its batch, or the caller, tells it.
func (r *registry) settleAbort(id wire.Bytes32, record state.Publication, happened input, reason uint8) error {
	if err := advance(&record, happened); err != nil {
		return err
	}
	record.Reason = reason
	r.giveBack(&record)
	r.ledger.PutPublication(id, record)
	return nil
}

// meetAnswers lets the mirrors' answers known so far decide a LOCKED publication, and stores its record.
func (r *registry) meetAnswers(id wire.Bytes32, record state.Publication) error {
	record.Awaited = 0
	refused := false
	for _, mirror := range record.Mirrors {
		switch r.ledger.Answer(id, mirror) {
		case stateNone:
			record.Awaited++
		case stateRefused:
			refused = true
		}
	}
	if refused {
		return r.abortHome(id, record, inputMirrorRefused, reasonMirrorRefused)
	}
	if record.Awaited == 0 {
		return r.commitHome(id, record)
	}
	r.ledger.PutPublication(id, record)
	return nil
}

func (r *registry) commitHome(id wire.Bytes32, record state.Publication) error {
	r.out.emit(wire.KindOutcome, record.Mirrors, id, wire.OutcomeBody{State: stateCommitted, Reason: uint16(reasonNone)})
	return r.settleCommit(id, record)
}

// settleCommit: versions meet, a revocation that waited takes effect. Its batch, or the caller, tells it.
func (r *registry) settleCommit(id wire.Bytes32, record state.Publication) error {
	if err := advance(&record, inputAllLocked); err != nil {
		return err
	}
	if err := r.meetRival(id, &record); err != nil {
		return err
	}
	if record.Revoked == revocationKnown {
		if err := r.revokeRecord(&record); err != nil {
			return err
		}
	}
	r.ledger.PutPublication(id, record)
	return nil
}

// meetRival makes a committed version the latest of its name, or lets the latest supersede it at once. A REVOKED version
// stays the latest until a higher one is committed.
func (r *registry) meetRival(id wire.Bytes32, record *state.Publication) error {
	rival, exists := r.ledger.Latest(record.Publisher, record.Name)
	if !exists {
		r.ledger.PutLatest(record.Publisher, record.Name, id)
		return nil
	}
	other, _ := r.ledger.Publication(rival)
	if other.Version > record.Version {
		return r.supersede(id, record, other.Version)
	}
	r.ledger.PutLatest(record.Publisher, record.Name, id)
	if other.State != stateCommitted {
		return nil
	}
	err := r.supersede(rival, &other, record.Version)
	r.ledger.PutPublication(rival, other)
	return err
}

func (r *registry) supersede(id wire.Bytes32, record *state.Publication, byVersion uint64) error {
	if err := advance(record, inputHigherVersion); err != nil {
		return err
	}
	r.giveBack(record)
	r.out.emit(wire.KindSuperseded, record.Mirrors, id, wire.SupersededBody{ByVersion: byVersion})
	return nil
}

func (r *registry) giveBack(record *state.Publication) {
	if !record.Deposit.IsZero() {
		r.credit(record.Publisher, record.Deposit)
		record.Deposit = wire.Uint128{}
	}
}

// meetOutcome lets an outcome that came before this mirror's lock take effect, and stores the record.
func (r *registry) meetOutcome(id wire.Bytes32, record state.Publication) {
	if outcome := r.ledger.EarlyOutcome(id, record.Home); outcome != stateNone {
		r.ledger.PutEarlyOutcome(id, record.Home, stateNone)
		// A home that commits what this mirror refuses has more than f bad validators behind it: the refusal stands.
		_, _ = followHome(&record, outcome)
	}
	r.ledger.PutPublication(id, record)
}

// followHome moves a mirror's record, and what waited for COMMITTED takes effect; false if it was there already: AlreadyDecided.
func followHome(record *state.Publication, outcome uint8) (moved bool, err error) {
	isCommit := outcome == stateCommitted || outcome == stateSuperseded
	if record.State == outcome || (isCommit && (record.State == stateSuperseded || record.State == stateRevoked)) {
		return false, nil
	}
	if err := advance(record, outcomeInputs[outcome]); err != nil {
		return false, err
	}
	if isCommit && record.Revoked == revocationKnown {
		return true, advance(record, inputRevoked)
	}
	return true, nil
}
