package contract

import (
	"slices"

	"caimi.local/onchain/fabric/internal/certificate"
	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

const (
	stepsOfAttempt = 16
	maxPostSize    = 65_536 // bytes
)

// isStep tells whether a post's phase is a message (1 to 5) or a vote to close its phase (9 to 13) of some attempt.
func isStep(phase uint8) bool {
	step := phase % stepsOfAttempt
	return 1 <= step && step <= 5 || 9 <= step && step <= 13
}

// proposeSet names the recipients of a resharing, who are no validators yet, so that they can post.
func (r *registry) proposeSet(p wire.SetProposal, signatures []wire.Signature) error {
	digest, last, present := wire.TypedDigest(r.network, p), r.ledger.Proposal(), r.epochs().Present
	if digest == last.Digest {
		return nil
	}
	if err := r.verifySet(p, p.Epoch, p.At, signatures, quorumOf(present)); err != nil {
		return err
	}
	if err := certificate.CheckSet(p.Next.Validators, p.Next.F, p.Next.T); err != nil {
		return err
	}
	if p.Next.Epoch <= max(present.Epoch, last.Epoch) || !p.Next.Transcript.IsZero() {
		return wire.BadSetChange.With()
	}
	seats := slices.Clone(present.Validators)
	for _, account := range p.Next.Validators {
		if !slices.Contains(present.Validators, account) {
			seats = append(seats, account)
		}
	}
	r.ledger.PutProposal(state.Proposal{Digest: digest, Epoch: p.Next.Epoch}, seats)
	return nil
}

// seats are the accounts that post under an epoch: those of its session, or the present set's.
func (r *registry) seats(epoch uint64) []wire.Address {
	if seats, proposed := r.ledger.Seats(epoch); proposed {
		return seats
	}
	return r.epochs().Present.Validators
}

// takesPosts: of the present epoch and of the last proposal's.
func (r *registry) takesPosts(epoch uint64) bool {
	return epoch == r.presentEpoch() || epoch == r.ledger.Proposal().Epoch && epoch > r.presentEpoch()
}

// postBoard records one seat's message of a key generation or resharing.
func (r *registry) postBoard(p wire.BoardPost, signature, body []byte) error {
	seats := r.epochs().Present.Validators
	if r.takesPosts(p.Epoch) {
		seats = r.seats(p.Epoch)
	}
	if err := r.verifySeat(p, signature, seats, p.Index); err != nil {
		return err
	}
	if err := r.checkLane(p.At); err != nil {
		return err
	}
	switch {
	case !r.takesPosts(p.Epoch):
		return wire.WrongEpoch.With(r.presentEpoch(), p.Epoch)
	case !isStep(p.Phase):
		return wire.WrongPhase.With(p.Phase)
	case len(body) > maxPostSize || wire.Keccak256(body) != p.BodyHash:
		return wire.WrongCommitment.With()
	}
	if posted, ok := r.ledger.Post(p.Epoch, p.Phase, p.Index); ok {
		if wire.Keccak256(posted) != p.BodyHash {
			return wire.AlreadyPosted.With()
		}
		return nil
	}
	r.ledger.PutPost(p.Epoch, p.Phase, p.Index, body)
	r.out.Posts = append(r.out.Posts, postNote{Epoch: p.Epoch, Phase: p.Phase, Index: p.Index})
	return nil
}
