package contract

import (
	"errors"

	"caimi.local/onchain/fabric/internal/certificate"
	"caimi.local/onchain/fabric/internal/wire"
)

// Dispositions of a carried event.
const (
	applied  uint8  = 1
	pending  uint8  = 2
	refused  uint8  = 3
	ignored  uint8  = 4
	noReason uint16 = 0
)

// applyRun verifies a certified run, then applies every item that concerns this registry and is not marked yet.
// It is total: an item can be refused, the run cannot be stopped by it.
func (r *registry) applyRun(c wire.Certificate, items []wire.Item, proof []wire.Bytes32) error {
	signers, err := r.accepting(c.Checkpoint.Epoch)
	if err != nil {
		return err
	}
	if err := certificate.Verify(c, r.network, signers.Validators, signers.F, signers.Epoch); err != nil {
		return err
	}
	source := c.Checkpoint.Source
	if source == r.lane {
		return wire.OwnEvents.With()
	}
	governed := r.ledger.Governed(source)
	if governed.Dropped == isOn {
		return wire.LaneDropped.With()
	}
	generation := governed.Generation
	if actual := c.Checkpoint.Generation; actual != generation {
		return wire.WrongGeneration.With(generation, actual)
	}
	if err := certificate.CheckRun(c.Checkpoint, items, proof); err != nil {
		return err
	}
	mine := r.destinedHere(items)
	r.ledger.PrefetchRun(r.lane, source, generation, mine)
	mark := wire.LaneHash(source)
	for _, item := range mine {
		if r.ledger.IsMarked(mark, generation, item.Sequence) {
			continue
		}
		if r.passedOver(source, signers.Epoch, item.Event) {
			continue
		}
		r.ledger.Mark(mark, generation, item.Sequence)
		disposition, err := r.applyItem(source, item.Event)
		code := noReason
		var reason *wire.Refusal
		if errors.As(err, &reason) {
			disposition, code = refused, reason.Code.Number
		} else if err != nil {
			return err
		}
		r.out.apply(source, item.Sequence, disposition, code)
	}
	return nil
}

func (r *registry) destinedHere(items []wire.Item) []wire.Item {
	var mine []wire.Item
	for _, item := range items {
		here := len(item.Event.Destinations) == 0 // empty means all
		for _, lane := range item.Event.Destinations {
			here = here || lane == r.lane
		}
		if here {
			mine = append(mine, item)
		}
	}
	return mine
}

func (r *registry) applyItem(source wire.Lane, event wire.Event) (uint8, error) {
	if event.Schema != wire.Schema {
		return ignored, nil
	}
	switch event.Kind {
	case wire.KindLocked:
		var body wire.LockedBody
		if err := wire.DecodeBody(event.Body, &body); err != nil {
			return refused, err
		}
		if body.Role != roleMirror {
			return ignored, nil
		}
		return r.applyAnswer(source, event.Subject, body.Home, stateLocked)
	case wire.KindRefused:
		var body wire.RefusedBody
		if err := wire.DecodeBody(event.Body, &body); err != nil {
			return refused, err
		}
		return r.applyAnswer(source, event.Subject, body.Home, stateRefused)
	case wire.KindOutcome:
		var body wire.OutcomeBody
		if err := wire.DecodeBody(event.Body, &body); err != nil {
			return refused, err
		}
		if body.State != stateCommitted && body.State != stateAborted {
			return ignored, nil
		}
		return r.applyOutcome(source, event.Subject, body.State)
	case wire.KindSuperseded:
		var body wire.SupersededBody
		if err := wire.DecodeBody(event.Body, &body); err != nil {
			return refused, err
		}
		return r.applyOutcome(source, event.Subject, stateSuperseded)
	case wire.KindAnswered:
		var body wire.AnsweredBody
		if err := wire.DecodeBody(event.Body, &body); err != nil {
			return refused, err
		}
		if body.ReceiptHash.IsZero() {
			return refused, wire.BadBody.With() // no registry emits it: zero is what stands for "not answered"
		}
		return r.applyReceipt(source, event.Subject, body)
	case wire.KindRevoked:
		var body wire.RevokedBody
		if err := wire.DecodeBody(event.Body, &body); err != nil {
			return refused, err
		}
		return r.applyRevocation(source, event.Subject, body.At)
	case wire.KindGovernance:
		var body wire.GovernanceBody
		if err := wire.DecodeBody(event.Body, &body); err != nil {
			return refused, err
		}
		return r.applyGovernance(source, body)
	case wire.KindSetChange:
		var body wire.SetChangeBody
		if err := wire.DecodeBody(event.Body, &body); err != nil {
			return refused, err
		}
		return r.applySetChange(source, event.Subject, body)
	case wire.KindSetRetired:
		var body wire.SetRetiredBody
		if err := wire.DecodeBody(event.Body, &body); err != nil {
			return refused, err
		}
		return r.applySetRetired(source, body)
	case wire.KindSetEntered:
		var body wire.SetEnteredBody
		if err := wire.DecodeBody(event.Body, &body); err != nil {
			return refused, err
		}
		return r.applySetEntered(source, event.Subject, body)
	case wire.KindBatchAnswered:
		var body wire.BatchAnsweredBody
		if err := wire.DecodeBody(event.Body, &body); err != nil {
			return refused, err
		}
		return r.applyBatchAnswer(source, event.Subject, body)
	case wire.KindBatchOutcome:
		var body wire.BatchOutcomeBody
		if err := wire.DecodeBody(event.Body, &body); err != nil {
			return refused, err
		}
		return r.applyBatchOutcome(source, event, body)
	}
	return ignored, nil
}

// applyAnswer is a mirror's LOCKED or REFUSED, at home.
func (r *registry) applyAnswer(source wire.Lane, id wire.Bytes32, home wire.Lane, answer uint8) (uint8, error) {
	if home != r.lane {
		return refused, wire.WrongAuthority.With()
	}
	record, known := r.ledger.Publication(id)
	before := r.ledger.Answer(id, source)
	if !known {
		if before == stateNone {
			r.ledger.PutAnswer(id, source, answer)
		}
		return pending, nil
	}
	switch {
	case record.Role != roleHome || !contains(record.Mirrors, source):
		return refused, wire.WrongAuthority.With()
	case before != stateNone:
		return ignored, nil
	case record.State != stateLocked:
		return refused, wire.AlreadyDecided.With(record.State)
	case answer == stateLocked && r.now > record.Deadline:
		return refused, wire.PastDeadline.With(record.Deadline, r.now)
	}
	r.ledger.PutAnswer(id, source, answer)
	return applied, r.meetAnswers(id, record)
}

// applyOutcome is a home's OUTCOME or SUPERSEDED, at a mirror.
func (r *registry) applyOutcome(source wire.Lane, id wire.Bytes32, outcome uint8) (uint8, error) {
	record, known := r.ledger.Publication(id)
	if !known {
		kept := r.ledger.EarlyOutcome(id, source)
		if kept == stateNone || (kept == stateCommitted && outcome == stateSuperseded) {
			r.ledger.PutEarlyOutcome(id, source, outcome)
		}
		return pending, nil
	}
	if record.Role != roleMirror || record.Home != source {
		return refused, wire.WrongAuthority.With()
	}
	moved, err := followHome(&record, outcome)
	if err != nil {
		return refused, err
	}
	if !moved {
		return ignored, nil
	}
	r.ledger.PutPublication(id, record)
	return applied, nil
}

// applyReceipt is a mirror's ANSWERED, at home.
func (r *registry) applyReceipt(source wire.Lane, id wire.Bytes32, body wire.AnsweredBody) (uint8, error) {
	record, known := r.ledger.Publication(id)
	if !known {
		return refused, wire.UnknownPublication.With(id)
	}
	if record.Role != roleHome || !contains(record.Mirrors, source) {
		return refused, wire.WrongAuthority.With()
	}
	if _, carried := r.ledger.CarriedReceipt(body.Request); carried {
		return ignored, nil
	}
	r.ledger.PutCarriedReceipt(body.Request, body.ReceiptHash)
	return applied, nil
}

func contains(lanes []wire.Lane, lane wire.Lane) bool {
	for _, l := range lanes {
		if l == lane {
			return true
		}
	}
	return false
}
