package contract

import (
	"math/big"

	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

// takeOut gives a publication of a batch its own record, at home or at a mirror. Anyone may.
func (r *registry) takeOut(p wire.Publication, signature []byte, proof wire.BatchProof) error {
	id, err := r.verifyPublisher(p, signature)
	if err != nil {
		return err
	}
	if p.Home != r.lane && !r.isMirror(p) {
		return wire.WrongRegistry.With(p.Home.Registry, r.lane.Registry)
	}
	r.ledger.PrefetchTakeOut(id, proof.Home, proof.Root)
	record, known := r.ledger.Publication(id)
	if known && isSettled(record) {
		return nil
	}
	if proof.Home != p.Home {
		return wire.WrongAuthority.With()
	}
	batch, exists := r.ledger.Batch(proof.Home, proof.Root)
	if !exists {
		return wire.UnknownBatch.With(proof.Root)
	}
	if batch.Role == roleMirror && batch.State == stateLocked {
		return wire.NotDecided.With()
	}
	if err := checkProof(id, proof, batch.Count); err != nil {
		return err
	}
	if batch.Role == roleHome {
		return r.takeOutAtHome(id, p, proof, batch)
	}
	if bit(batch.Taken, proof.Index) {
		return wire.TakenOut.With()
	}
	if !known {
		record = newRecord(p, roleMirror)
		r.ledger.PrefetchLock(id, p.Home, p.Mirrors)
		r.meetRevocations(id, &record)
		if err := advance(&record, inputLock); err != nil {
			return err
		}
	}
	return r.takeOutAtMirror(id, record, batch)
}

// isSettled tells whether a record says more than its batch: a mirror's LOCKED one follows what home decided of the batch.
func isSettled(record state.Publication) bool {
	return record.Role == roleHome || record.State != stateLocked
}

// checkProof: ItemOutOfRun, ProofTooShort, ProofTooLong, WrongRoot.
func checkProof(id wire.Bytes32, proof wire.BatchProof, count uint16) error {
	index := uint64(proof.Index)
	leaf := wire.BatchLeaf(index, id)
	root, err := wire.MultiproofRoot(uint64(count), []uint64{index}, []wire.Bytes32{leaf}, proof.Siblings)
	if err != nil {
		return err
	}
	if root != proof.Root {
		return wire.WrongRoot.With(proof.Root, root)
	}
	return nil
}

func (r *registry) takeOutAtHome(id wire.Bytes32, p wire.Publication, proof wire.BatchProof, batch state.Batch) error {
	if batch.State == stateLocked && r.now <= batch.Earliest {
		return wire.DeadlineNotPassed.With(batch.Earliest, r.now)
	}
	record := newRecord(p, roleHome)
	record.Deposit = p.Deposit
	r.ledger.MoveDeposit(proof.Root, proof.Index, p.Deposit)
	if err := advance(&record, inputLock); err != nil {
		return err
	}
	if batch.State == stateAborted {
		record.Awaited = batch.Awaited
		happened := inputMirrorRefused
		if batch.Reason == reasonDeadline {
			happened = inputDeadline
		}
		return r.settleAbort(id, record, happened, batch.Reason)
	}
	r.ledger.PrefetchLock(id, p.Home, p.Mirrors)
	r.meetRevocations(id, &record)
	if batch.State == stateCommitted {
		record.Awaited = 0
		return r.settleCommit(id, record)
	}
	setBit(&batch.Taken, proof.Index)
	r.ledger.PutBatch(r.lane, proof.Root, batch)
	r.out.emit(wire.KindLocked, p.Mirrors, id, wire.LockedBody{Role: roleHome, Home: p.Home})
	if r.now > p.Deadline {
		return r.abortHome(id, record, inputDeadline, reasonDeadline)
	}
	return r.meetAnswers(id, record)
}

// takeOutAtMirror: the record follows its batch.
func (r *registry) takeOutAtMirror(id wire.Bytes32, record state.Publication, batch state.Batch) error {
	outcome := batch.State
	// Of what home told of the id itself only SUPERSEDED can come after the batch's outcome.
	if early := r.ledger.EarlyOutcome(id, record.Home); early != stateNone {
		r.ledger.PutEarlyOutcome(id, record.Home, stateNone)
		if outcome == stateCommitted && early == stateSuperseded {
			outcome = stateSuperseded
		}
	}
	if _, err := followHome(&record, outcome); err != nil {
		return err
	}
	r.ledger.PutPublication(id, record)
	return nil
}

// viewStateIn joins what an id's own record and its batch say of it (spec 37 §5).
func (r *registry) viewStateIn(id wire.Bytes32, proof wire.BatchProof) ([]byte, error) {
	role, status, err := r.stateIn(id, proof)
	return wire.Encode(role, status), err
}

func (r *registry) stateIn(id wire.Bytes32, proof wire.BatchProof) (role, status uint8, err error) {
	batch, exists := r.ledger.Batch(proof.Home, proof.Root)
	if !exists {
		return 0, 0, wire.UnknownBatch.With(proof.Root)
	}
	record, known := r.ledger.Publication(id)
	if known && isSettled(record) {
		return record.Role, record.State, nil
	}
	if batch.Role == roleMirror && batch.State == stateLocked {
		return roleMirror, stateLocked, nil // its width is not known
	}
	if err := checkProof(id, proof, batch.Count); err != nil {
		return 0, 0, err
	}
	if batch.Role == roleMirror && bit(batch.Taken, proof.Index) {
		return roleMirror, record.State, nil
	}
	if batch.State != stateCommitted {
		return batch.Role, batch.State, nil
	}
	if record.Revoked == revocationKnown || r.isRevokedEarly(id, proof.Home, batch.Mirrors) {
		return batch.Role, stateRevoked, nil
	}
	if r.ledger.EarlyOutcome(id, proof.Home) == stateSuperseded {
		return batch.Role, stateSuperseded, nil
	}
	return batch.Role, stateCommitted, nil
}

func (r *registry) viewBatch(home wire.Lane, root wire.Bytes32) ([]byte, error) {
	b, _ := r.ledger.Batch(home, root)
	held := new(big.Int)
	if b.Role == roleHome {
		held = r.ledger.DepositsOf(root, b)
	}
	deposits, err := wire.ToUint128(held)
	return wire.Encode(b.Role, b.State, b.Count, b.Taken, b.Earliest, b.Latest, deposits, b.Awaited, b.Reason), err
}

// bit i of a word is its i-th lowest.
func bit(word wire.Bytes32, i uint16) bool { return word[31-i/8]>>(i%8)&1 == 1 }

func setBit(word *wire.Bytes32, i uint16) { word[31-i/8] |= 1 << (i % 8) }
