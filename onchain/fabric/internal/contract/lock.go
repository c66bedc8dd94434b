package contract

import (
	"errors"

	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

func (r *registry) verifyPublisher(p wire.Publication, signature []byte) (wire.Bytes32, error) {
	id := wire.TypedDigest(r.network, p)
	return id, verifySigner(id, signature, p.Publisher)
}

func (r *registry) isMirror(p wire.Publication) bool {
	for _, mirror := range p.Mirrors {
		if mirror == r.lane {
			return true
		}
	}
	return false
}

// lockModel locks at home, or answers at a mirror.
func (r *registry) lockModel(p wire.Publication, signature []byte) error {
	id, err := r.verifyPublisher(p, signature)
	if err != nil {
		return err
	}
	isHome := p.Home == r.lane
	if !isHome && !r.isMirror(p) {
		return wire.WrongRegistry.With(p.Home.Registry, r.lane.Registry)
	}
	if _, known := r.ledger.Publication(id); known {
		return nil
	}
	if isHome && r.isLockedHere(id, p) {
		return nil
	}
	if err := r.checkRunning(); err != nil {
		return err
	}
	if isHome {
		return r.lockHome(id, p)
	}
	return r.lockMirror(id, p)
}

// isLockedHere tells whether this home knows the publication, alone or in a batch: a lock leaves its id under the nonce.
func (r *registry) isLockedHere(id wire.Bytes32, p wire.Publication) bool {
	if _, known := r.ledger.Publication(id); known {
		return true
	}
	digest, used := r.ledger.NonceUse(p.Publisher, p.Nonce)
	return used && digest == id
}

func (r *registry) lockHome(id wire.Bytes32, p wire.Publication) error {
	if err := r.reserve(id, p); err != nil {
		return err
	}
	record := newRecord(p, roleHome)
	record.Deposit = p.Deposit
	if err := advance(&record, inputLock); err != nil {
		return err
	}
	r.ledger.PrefetchLock(id, p.Home, p.Mirrors)
	r.meetRevocations(id, &record)
	r.out.emit(wire.KindLocked, p.Mirrors, id, wire.LockedBody{Role: roleHome, Home: p.Home})
	return r.meetAnswers(id, record)
}

// reserve takes what a lock at home takes from its publisher, alone or in a batch: deposit, nonce and name.
func (r *registry) reserve(id wire.Bytes32, p wire.Publication) error {
	if err := checkPublication(p); err != nil {
		return err
	}
	if r.now > p.Deadline {
		return wire.PastDeadline.With(p.Deadline, r.now)
	}
	if earliest := r.now + 2*r.config.ClockWindow; p.Deadline < earliest {
		return wire.NearDeadline.With(p.Deadline, earliest)
	}
	if p.Deposit.Less(r.config.MinDeposit) {
		return wire.SmallDeposit.With(r.config.MinDeposit, p.Deposit)
	}
	if _, used := r.ledger.NonceUse(p.Publisher, p.Nonce); used {
		return wire.NonceUsed.With(p.Nonce)
	}
	if r.ledger.IsTaken(p.Publisher, p.Name, p.Version) {
		return wire.NameTaken.With()
	}
	if err := r.debit(p.Publisher, p.Deposit); err != nil {
		return err
	}
	r.ledger.UseNonce(p.Publisher, p.Nonce, id)
	r.ledger.Take(p.Publisher, p.Name, p.Version)
	return nil
}

func (r *registry) lockMirror(id wire.Bytes32, p wire.Publication) error {
	record := newRecord(p, roleMirror)
	happened, kind, body := inputLock, wire.KindLocked, any(wire.LockedBody{Role: roleMirror, Home: p.Home})
	if err := checkPublication(p); err != nil {
		// The reason is a pure function of the signed bytes, so every mirror and both ways of locking agree on it.
		var reason *wire.Refusal
		if !errors.As(err, &reason) {
			return err
		}
		happened, kind, body = inputRefuse, wire.KindRefused, wire.RefusedBody{Code: reason.Code.Number, Home: p.Home}
	}
	if err := advance(&record, happened); err != nil {
		return err
	}
	if record.State == stateLocked {
		r.ledger.PrefetchLock(id, p.Home, p.Mirrors)
		r.meetRevocations(id, &record)
	}
	r.out.emit(kind, []wire.Lane{p.Home}, id, body)
	r.meetOutcome(id, record)
	return nil
}

func newRecord(p wire.Publication, role uint8) state.Publication {
	record := state.Publication{
		Role: role, State: stateNone, Publisher: p.Publisher, Name: p.Name, Version: p.Version,
		Home: p.Home, Mirrors: p.Mirrors, Deadline: p.Deadline,
	}
	if role == roleHome {
		record.Awaited = uint8(len(p.Mirrors)) // lawful publications have at most 7
	}
	return record
}
