package contract

import (
	"errors"
	"math/big"

	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

// Most publications of a batch: as many as one word has bits.
const maxBatch = 256

// lockBatch locks publications of one home and the same mirrors as one batch, or none of them. It answers the root.
func (r *registry) lockBatch(publications []wire.Publication, signatures [][]byte) ([]byte, error) {
	switch count := len(publications); {
	case count == 0:
		return nil, wire.EmptyBatch.With()
	case count > maxBatch:
		return nil, wire.BatchTooLong.With(maxBatch, count)
	case len(signatures) != count:
		return nil, wire.BadEncoding.With()
	}
	ids, err := r.verifyPublishers(publications, signatures)
	if err != nil {
		return nil, err
	}
	root, err := batchRoot(ids)
	if err != nil {
		return nil, err
	}
	answer := wire.Encode(root)
	if _, known := r.ledger.Batch(r.lane, root); known {
		return answer, nil
	}
	if err := r.checkRunning(); err != nil {
		return nil, err
	}
	if err := r.reserveAll(ids, publications); err != nil {
		return nil, err
	}
	batch := newBatch(publications)
	r.out.emit(wire.KindBatchLocked, batch.Mirrors, root, wire.BatchLockedBody{Count: batch.Count})
	r.out.list(root, ids)
	r.ledger.PrefetchBatchAnswers(root, batch.Mirrors)
	r.meetBatchAnswers(root, batch)
	return answer, nil
}

// ofItem names which publication of a batch is refused; whoever gathered the batch leaves it out.
func ofItem(index int, err error) error {
	var reason *wire.Refusal
	if errors.As(err, &reason) {
		return wire.BatchItem.With(index, reason.Code.Number)
	}
	return err
}

func batchRoot(ids []wire.Bytes32) (wire.Bytes32, error) {
	leaves, indices := make([]wire.Bytes32, len(ids)), make([]uint64, len(ids))
	for i, id := range ids {
		indices[i] = uint64(i)
		leaves[i] = wire.BatchLeaf(indices[i], id)
	}
	return wire.MultiproofRoot(uint64(len(ids)), indices, leaves, nil)
}

// reserveAll takes deposits, nonces and names in order, so that each publication meets what those before it took.
func (r *registry) reserveAll(ids []wire.Bytes32, publications []wire.Publication) error {
	mirrors := publications[0].Mirrors
	lawful := 0
	for lawful < len(ids) && r.fitsBatch(publications[lawful], mirrors) == nil && checkPublication(publications[lawful]) == nil {
		lawful++
	}
	// Nothing is read for what stands behind one that is refused whatever the ledger holds; and its name makes no key.
	r.ledger.PrefetchBatch(ids[:lawful], publications[:lawful])
	for i, p := range publications {
		err := r.fitsBatch(p, mirrors)
		if err == nil && r.isLockedHere(ids[i], p) {
			err = wire.KnownPublication.With()
		}
		if err == nil {
			err = r.reserve(ids[i], p)
		}
		if err != nil {
			return ofItem(i, err)
		}
	}
	return nil
}

func (r *registry) fitsBatch(p wire.Publication, mirrors []wire.Lane) error {
	if p.Home != r.lane {
		return wire.NotHome.With()
	}
	if !sameLanes(p.Mirrors, mirrors) {
		return wire.BadMirrors.With()
	}
	return nil
}

func sameLanes(a, b []wire.Lane) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i] != b[i] {
			return false
		}
	}
	return true
}

func newBatch(publications []wire.Publication) state.Batch {
	first := publications[0]
	batch := state.Batch{
		Role: roleHome, State: stateLocked, Count: uint16(len(publications)), Mirrors: first.Mirrors,
		Earliest: first.Deadline, Latest: first.Deadline,
	}
	sum := new(big.Int)
	for _, p := range publications {
		batch.Earliest, batch.Latest = min(batch.Earliest, p.Deadline), max(batch.Latest, p.Deadline)
		sum.Add(sum, p.Deposit.Big())
	}
	sum.FillBytes(batch.Deposits[:]) // 256 numbers of 128 bits
	return batch
}

// meetBatchAnswers lets the mirrors' answers known so far decide a LOCKED batch, and stores its record.
func (r *registry) meetBatchAnswers(root wire.Bytes32, batch state.Batch) {
	batch.Awaited = 0
	differs := false
	for _, mirror := range batch.Mirrors {
		version, answered := r.ledger.BatchAnswer(root, mirror)
		if !answered {
			batch.Awaited++
		} else if version != rulesVersion {
			differs = true
		}
	}
	switch {
	case differs:
		// Rules of another version might refuse what these found lawful: such a batch is published one by one.
		r.decideBatch(root, batch, stateAborted, reasonMirrorRefused)
	case batch.Awaited == 0:
		r.decideBatch(root, batch, stateCommitted, reasonNone)
	default:
		r.ledger.PutBatch(r.lane, root, batch)
	}
}

func (r *registry) decideBatch(root wire.Bytes32, batch state.Batch, outcome, reason uint8) {
	batch.State, batch.Reason = outcome, reason
	r.ledger.PutBatch(r.lane, root, batch)
	r.out.emit(wire.KindBatchOutcome, batch.Mirrors, root, wire.BatchOutcomeBody{
		State: outcome, Reason: uint16(reason), Count: batch.Count, Taken: batch.Taken,
	})
}

// abortBatch: anyone may, at home, after the latest deadline.
func (r *registry) abortBatch(root wire.Bytes32) error {
	batch, known := r.ledger.Batch(r.lane, root)
	switch {
	case !known:
		return wire.UnknownBatch.With(root)
	case batch.State == stateAborted:
		return nil
	case batch.State != stateLocked:
		return wire.NotLocked.With(batch.State)
	case r.now <= batch.Latest:
		return wire.DeadlineNotPassed.With(batch.Latest, r.now)
	}
	r.decideBatch(root, batch, stateAborted, reasonDeadline)
	return nil
}

// applyBatchAnswer is a mirror's BATCH_ANSWERED, at home.
func (r *registry) applyBatchAnswer(source wire.Lane, root wire.Bytes32, body wire.BatchAnsweredBody) (uint8, error) {
	if body.Home != r.lane {
		return refused, wire.WrongAuthority.With()
	}
	batch, known := r.ledger.Batch(r.lane, root)
	_, answered := r.ledger.BatchAnswer(root, source)
	if !known {
		if !answered {
			r.ledger.PutBatchAnswer(root, source, body.Version)
		}
		return pending, nil
	}
	switch {
	case !contains(batch.Mirrors, source):
		return refused, wire.WrongAuthority.With()
	case answered:
		return ignored, nil
	case batch.State != stateLocked:
		return refused, wire.AlreadyDecided.With(batch.State)
	case r.now > batch.Earliest:
		return refused, wire.PastDeadline.With(batch.Earliest, r.now)
	}
	r.ledger.PutBatchAnswer(root, source, body.Version)
	r.ledger.PrefetchBatchAnswers(root, batch.Mirrors)
	r.meetBatchAnswers(root, batch)
	return applied, nil
}

// answerBatch: anyone may have a mirror promise to hold what a home decides about a root.
func (r *registry) answerBatch(home wire.Lane, root wire.Bytes32) error {
	if home == r.lane {
		return wire.OwnEvents.With()
	}
	if _, known := r.ledger.Batch(home, root); known {
		return nil
	}
	if err := r.checkRunning(); err != nil {
		return err
	}
	if root.IsZero() {
		return wire.ZeroRoot.With()
	}
	r.ledger.PutBatch(home, root, state.Batch{Role: roleMirror, State: stateLocked})
	r.out.emit(wire.KindBatchAnswered, []wire.Lane{home}, root, wire.BatchAnsweredBody{Version: rulesVersion, Home: home})
	return nil
}

// applyBatchOutcome is a home's BATCH_OUTCOME, at a mirror, which it may reach before the mirror has answered.
func (r *registry) applyBatchOutcome(source wire.Lane, event wire.Event, body wire.BatchOutcomeBody) (uint8, error) {
	isDecision := body.State == stateCommitted || body.State == stateAborted
	if !isDecision || body.Count < 1 || body.Count > maxBatch || body.Reason > uint16(reasonNeverLocked) {
		return refused, wire.BadBody.With()
	}
	root := event.Subject
	if batch, known := r.ledger.Batch(source, root); known && batch.State != stateLocked {
		if batch.State == body.State {
			return ignored, nil
		}
		return refused, wire.AlreadyDecided.With(batch.State)
	}
	r.ledger.PutBatch(source, root, state.Batch{
		Role: roleMirror, State: body.State, Count: body.Count, Mirrors: event.Destinations, // it goes to all of them
		Taken: body.Taken, Reason: uint8(body.Reason),
	})
	return applied, nil
}
