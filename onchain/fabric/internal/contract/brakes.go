package contract

import (
	"math/big"

	"caimi.local/onchain/fabric/internal/certificate"
	"caimi.local/onchain/fabric/internal/wire"
)

const (
	isOff uint8 = 0
	isOn  uint8 = 1
)

// verifySet: at least `needed` validators of the present set signed an order for this registry.
func (r *registry) verifySet(order any, epoch uint64, at wire.Lane, signatures []wire.Signature, needed int) error {
	present := r.epochs().Present
	if epoch != present.Epoch {
		return wire.WrongEpoch.With(present.Epoch, epoch)
	}
	digest := wire.TypedDigest(r.network, order)
	if err := certificate.VerifySigners(signatures, digest, present.Validators, needed); err != nil {
		return err
	}
	return r.checkLane(at)
}

// pause: f+1 validators stop what the registry begins; at least one of them is honest.
func (r *registry) pause(p wire.Pause, signatures []wire.Signature) error {
	if err := r.verifySet(p, p.Epoch, p.At, signatures, int(r.epochs().Present.F)+1); err != nil {
		return err
	}
	brakes := r.ledger.Brakes()
	if brakes.Paused == isOn && p.Counter == brakes.Counter {
		return nil
	}
	if p.Counter != brakes.Counter+1 {
		return wire.WrongCounter.With(brakes.Counter+1, p.Counter)
	}
	brakes.Paused, brakes.Counter, brakes.Since = isOn, p.Counter, r.now
	r.ledger.PutBrakes(brakes)
	return nil
}

// resume: a quorum ends a pause, not before the delay.
func (r *registry) resume(p wire.Resume, signatures []wire.Signature) error {
	if err := r.verifySet(p, p.Epoch, p.At, signatures, quorumOf(r.epochs().Present)); err != nil {
		return err
	}
	brakes := r.ledger.Brakes()
	if brakes.Paused == isOff && p.Counter == brakes.Counter {
		return nil
	}
	if p.Counter != brakes.Counter+1 {
		return wire.WrongCounter.With(brakes.Counter+1, p.Counter)
	}
	if brakes.Paused == isOff {
		return wire.NotPaused.With()
	}
	if earliest := brakes.Since + r.config.Limits.ResumeDelay; r.now < earliest {
		return wire.TooEarly.With(earliest, r.now)
	}
	brakes.Paused, brakes.Counter = isOff, p.Counter
	r.ledger.PutBrakes(brakes)
	return nil
}

// checkRunning comes first among the checks of everything that begins something: Paused.
func (r *registry) checkRunning() error {
	if r.ledger.Brakes().Paused == isOn {
		return wire.Paused.With()
	}
	return nil
}

// countWithdrawal: CapReached. Without a cap nothing is counted, so that withdrawals share no key.
func (r *registry) countWithdrawal(amount wire.Uint128) error {
	limit := r.config.Limits.WithdrawalCap
	if limit.IsZero() {
		return nil
	}
	epoch := r.presentEpoch()
	asked := new(big.Int).Add(r.ledger.Withdrawn(epoch), amount.Big())
	if asked.Cmp(limit.Big()) > 0 {
		return wire.CapReached.With(limit, asked)
	}
	r.ledger.PutWithdrawn(epoch, asked)
	return nil
}

// countLease: CapReached. Host keys are made anew at each start, so it is the operator who vouches for them that counts.
func (r *registry) countLease(publication wire.Bytes32, operator wire.Address) error {
	limit := r.config.Limits.LeaseCap
	if limit == 0 {
		return nil
	}
	epoch := r.presentEpoch()
	asked := r.ledger.Leases(epoch, publication, operator) + 1
	if asked > limit {
		return wire.CapReached.With(limit, asked)
	}
	r.ledger.PutLeases(epoch, publication, operator, asked)
	return nil
}
