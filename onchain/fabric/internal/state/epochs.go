package state

import "caimi.local/onchain/fabric/internal/wire"

// EpochSigners is a validator set that the registry believes.
type EpochSigners struct {
	Epoch      uint64 // 0 if there is none
	F, T       uint8
	SetHash    wire.Bytes32 // hashStruct of its EpochSet; zero of the first
	Transcript wire.Bytes32 // of its EpochSet
	Validators []wire.Address
}

// Epochs say which validators count here (spec 42 §1).
type Epochs struct {
	Present      EpochSigners
	Before       EpochSigners // until it is retired its certificates count too
	Announced    uint64       // away from the root: epoch that it told of, 0 if none
	AnnouncedSet wire.Bytes32
	Change       wire.Bytes32 // at the root: digest of the change that led here
	Lanes        []wire.Lane  // at the root: registries that had to enter the present epoch
}

// Proposal is the last one on the board.
type Proposal struct {
	Digest wire.Bytes32
	Epoch  uint64 // 0 if there was none
}

const (
	epochsKey   = "epochs"
	proposalKey = "proposal"
)

func acknowledgedKey(lane wire.Lane) string { return key("acknowledged", laneHash(lane)) }

func seatsKey(epoch uint64) string { return numbered("seats", epoch) }

// Epochs give who counts: the descriptor's set in epoch 1 until that changes.
func (o *Overlay) Epochs(genesis wire.Genesis) Epochs {
	epochs, ok := load[Epochs](o, epochsKey)
	if !ok {
		epochs.Present = EpochSigners{Epoch: 1, F: genesis.F, T: genesis.T, Validators: genesis.Validators}
	}
	return epochs
}

// PutEpochs stores it.
func (o *Overlay) PutEpochs(epochs Epochs) { store(o, epochsKey, epochs) }

// Acknowledged is, at the root, the last epoch that a lane is known to have entered; 0 if none.
func (o *Overlay) Acknowledged(lane wire.Lane) uint64 {
	epoch, _ := load[uint64](o, acknowledgedKey(lane))
	return epoch
}

// Acknowledge stores it.
func (o *Overlay) Acknowledge(lane wire.Lane, epoch uint64) { store(o, acknowledgedKey(lane), epoch) }

// Proposal gives the last one, zero before the first.
func (o *Overlay) Proposal() Proposal {
	proposal, _ := load[Proposal](o, proposalKey)
	return proposal
}

// PutProposal stores it, and the accounts that post under its epoch.
func (o *Overlay) PutProposal(proposal Proposal, seats []wire.Address) {
	store(o, proposalKey, proposal)
	store(o, seatsKey(proposal.Epoch), seats)
}

// Seats are the accounts that post under an epoch, if it was ever proposed here.
func (o *Overlay) Seats(epoch uint64) ([]wire.Address, bool) {
	return load[[]wire.Address](o, seatsKey(epoch))
}
