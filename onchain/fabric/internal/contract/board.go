package contract

import "caimi.local/onchain/fabric/internal/wire"

const (
	stepsOfAttempt = 16
	maxPostSize    = 65_536 // bytes
)

// isStep tells whether a post's phase is a message (1 to 5) or a vote to close its phase (9 to 13) of some attempt.
func isStep(phase uint8) bool {
	step := phase % stepsOfAttempt
	return 1 <= step && step <= 5 || 9 <= step && step <= 13
}

// postBoard records one validator's message of a key generation.
func (r *registry) postBoard(p wire.BoardPost, signature, body []byte) error {
	if err := r.verifyValidator(p, signature, p.Index); err != nil {
		return err
	}
	if err := r.checkLane(p.At); err != nil {
		return err
	}
	switch {
	case p.Epoch != presentEpoch:
		return wire.WrongEpoch.With(presentEpoch, p.Epoch)
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
