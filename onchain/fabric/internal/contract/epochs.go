package contract

import (
	"caimi.local/onchain/fabric/internal/certificate"
	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

const maxLanes = 64 // registries besides the root that a change can wait for

// epochs say whose signatures count here.
func (r *registry) epochs() state.Epochs { return r.ledger.Epochs(r.config.Genesis) }

func (r *registry) presentEpoch() uint64 { return r.epochs().Present.Epoch }

// accepting gives the set whose certificates of an epoch count: WrongEpoch.
func (r *registry) accepting(epoch uint64) (state.EpochSigners, error) {
	epochs := r.epochs()
	for _, signers := range []state.EpochSigners{epochs.Present, epochs.Before} {
		if signers.Epoch == epoch && epoch != 0 {
			return signers, nil
		}
	}
	return state.EpochSigners{}, wire.WrongEpoch.With(epochs.Present.Epoch, epoch)
}

func quorumOf(signers state.EpochSigners) int {
	return certificate.Quorum(len(signers.Validators), signers.F)
}

func signersOf(set wire.EpochSet) state.EpochSigners {
	return state.EpochSigners{
		Epoch: set.Epoch, F: set.F, T: set.T, SetHash: wire.HashStruct(set), Transcript: set.Transcript,
		Validators: set.Validators,
	}
}

// changeSet, at the root: the next set takes over from the present one, and all registries are told.
func (r *registry) changeSet(c wire.SetChange, signatures, nextSignatures []wire.Signature) error {
	digest, epochs := wire.TypedDigest(r.network, c), r.epochs()
	if digest == epochs.Change {
		return nil
	}
	if err := r.verifySet(c, c.Epoch, c.At, signatures, quorumOf(epochs.Present)); err != nil {
		return err
	}
	if r.config.RootLane() != r.lane {
		return wire.NotRoot.With()
	}
	if epochs.Before.Epoch != 0 {
		return wire.NotRetired.With(epochs.Before.Epoch)
	}
	following := signersOf(c.Next)
	if err := certificate.CheckSet(following.Validators, following.F, following.T); err != nil {
		return err
	}
	if c.Next.Epoch <= c.Epoch || c.Next.Transcript.IsZero() || !r.lawfulLanes(c.Lanes) {
		return wire.BadSetChange.With()
	}
	if err := certificate.VerifySigners(nextSignatures, digest, following.Validators, quorumOf(following)); err != nil {
		return err
	}
	r.ledger.PutEpochs(state.Epochs{Present: following, Before: epochs.Present, Change: digest, Lanes: c.Lanes})
	r.out.emit(wire.KindSetChange, nil, following.SetHash, wire.SetChangeBody{Ends: c.Epoch, Begins: c.Next.Epoch})
	return nil
}

// lawfulLanes: strictly ascending, without the root, no more than a change can wait for.
func (r *registry) lawfulLanes(lanes []wire.Lane) bool {
	if len(lanes) > maxLanes || contains(lanes, r.lane) {
		return false
	}
	for i := 1; i < len(lanes); i++ {
		if lanes[i-1].Compare(lanes[i]) >= 0 {
			return false
		}
	}
	return true
}

// enterSet, away from the root: the announced set takes over, and the root is told.
func (r *registry) enterSet(set wire.EpochSet) error {
	following, epochs := signersOf(set), r.epochs()
	if following.SetHash == epochs.Present.SetHash {
		return nil
	}
	if following.Epoch == 0 || following.Epoch != epochs.Announced || following.SetHash != epochs.AnnouncedSet {
		return wire.UnknownSet.With(following.SetHash)
	}
	if err := certificate.CheckSet(following.Validators, following.F, following.T); err != nil {
		return err
	}
	r.ledger.PutEpochs(state.Epochs{Present: following, Before: epochs.Present})
	root := []wire.Lane{r.config.RootLane()}
	r.out.emit(wire.KindSetEntered, root, following.SetHash, wire.SetEnteredBody{Epoch: following.Epoch})
	return nil
}

// retireSet, at the root: nothing signed by the set before counts any more, and all registries are told.
func (r *registry) retireSet() error {
	epochs := r.epochs()
	if r.config.RootLane() != r.lane {
		return wire.NotRoot.With()
	}
	retired := epochs.Before.Epoch
	if retired == 0 {
		return nil
	}
	for _, lane := range epochs.Lanes {
		entered := r.ledger.Acknowledged(lane) == epochs.Present.Epoch
		if !entered && r.ledger.Governed(lane).Dropped != isOn {
			return wire.NotAcknowledged.With(wire.LaneHash(lane))
		}
	}
	r.forgetBefore(epochs)
	r.out.emit(wire.KindSetRetired, nil, epochs.Present.SetHash, wire.SetRetiredBody{Epoch: retired})
	return nil
}

func (r *registry) forgetBefore(epochs state.Epochs) {
	epochs.Before = state.EpochSigners{}
	r.ledger.PutEpochs(epochs)
}

// passedOver tells whether an event has to come again, later or certified by the present set (spec 42 §3).
func (r *registry) passedOver(source wire.Lane, certified uint64, event wire.Event) bool {
	if event.Schema != wire.Schema {
		return false
	}
	fromRoot := source == r.config.RootLane()
	switch event.Kind {
	case wire.KindSetChange:
		var body wire.SetChangeBody
		return wire.DecodeBody(event.Body, &body) == nil && fromRoot &&
			body.Begins > body.Ends && body.Ends > r.presentEpoch()
	case wire.KindSetRetired:
		var body wire.SetRetiredBody
		present := r.presentEpoch()
		return wire.DecodeBody(event.Body, &body) == nil && fromRoot && (body.Epoch >= present || certified != present)
	case wire.KindSetEntered:
		var body wire.SetEnteredBody
		epochs := r.epochs()
		present := epochs.Present
		return wire.DecodeBody(event.Body, &body) == nil && contains(epochs.Lanes, source) &&
			body.Epoch == present.Epoch && event.Subject == present.SetHash && certified != present.Epoch
	}
	return false
}

// applySetChange: the root announces a set.
func (r *registry) applySetChange(source wire.Lane, set wire.Bytes32, body wire.SetChangeBody) (uint8, error) {
	if source != r.config.RootLane() {
		return refused, wire.WrongAuthority.With()
	}
	if body.Begins <= body.Ends {
		return refused, wire.BadBody.With() // no registry emits it: epochs rise
	}
	epochs := r.epochs()
	if body.Ends != epochs.Present.Epoch || body.Begins <= epochs.Announced {
		return ignored, nil
	}
	epochs.Announced, epochs.AnnouncedSet = body.Begins, set
	r.ledger.PutEpochs(epochs)
	return pending, nil
}

// applySetEntered: a registry tells the root that it entered a set.
func (r *registry) applySetEntered(source wire.Lane, set wire.Bytes32, body wire.SetEnteredBody) (uint8, error) {
	epochs := r.epochs()
	switch {
	case !contains(epochs.Lanes, source):
		return refused, wire.WrongAuthority.With()
	case body.Epoch < epochs.Present.Epoch:
		return ignored, nil
	case body.Epoch != epochs.Present.Epoch || set != epochs.Present.SetHash:
		return refused, wire.UnknownSet.With(set)
	case r.ledger.Acknowledged(source) == body.Epoch:
		return ignored, nil
	}
	r.ledger.Acknowledge(source, body.Epoch)
	return applied, nil
}

// applySetRetired: the root retires the set before the present one.
func (r *registry) applySetRetired(source wire.Lane, body wire.SetRetiredBody) (uint8, error) {
	if source != r.config.RootLane() {
		return refused, wire.WrongAuthority.With()
	}
	epochs := r.epochs()
	if body.Epoch == 0 || body.Epoch != epochs.Before.Epoch {
		return ignored, nil
	}
	r.forgetBefore(epochs)
	return applied, nil
}
