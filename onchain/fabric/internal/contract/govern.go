package contract

import (
	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

// What a quorum decides about a lane; others are carried and ignored.
const (
	actionResumeLane uint8 = 1
	actionDropLane   uint8 = 2
)

// govern records, at the root, a quorum's decision about a lane, and tells all registries.
func (r *registry) govern(g wire.Governance, signatures []wire.Signature) error {
	if err := r.verifySet(g, g.Epoch, g.At, signatures, quorumOf(r.epochs().Present)); err != nil {
		return err
	}
	if r.config.RootLane() != r.lane {
		return wire.NotRoot.With()
	}
	body := wire.GovernanceBody{
		Action: g.Action, Lane: g.Lane, Version: g.Version,
		Generation: g.Generation, Height: g.Height, BlockHash: g.BlockHash,
	}
	before, after := r.ledger.Governed(g.Lane), decided(body)
	switch {
	case after == before:
		return nil
	case before.Dropped == isOn:
		return wire.LaneDropped.With()
	case g.Version != before.Version+1:
		return wire.WrongCounter.With(before.Version+1, g.Version)
	case g.Lane == r.lane || !lawfulDecision(g, before):
		return wire.BadGovernance.With()
	}
	r.ledger.PutGoverned(g.Lane, after)
	r.out.emit(wire.KindGovernance, nil, wire.LaneHash(g.Lane), body)
	return nil
}

// applyGovernance is a decision that the root tells.
func (r *registry) applyGovernance(source wire.Lane, body wire.GovernanceBody) (uint8, error) {
	if body.Generation == 0 {
		return refused, wire.BadBody.With() // no registry emits it: generations begin at 1
	}
	if source != r.config.RootLane() {
		return refused, wire.WrongAuthority.With()
	}
	before := r.ledger.Governed(body.Lane)
	isKnown := body.Action == actionResumeLane || body.Action == actionDropLane
	if !isKnown || before.Dropped == isOn || body.Version <= before.Version {
		return ignored, nil
	}
	r.ledger.PutGoverned(body.Lane, decided(body))
	return applied, nil
}

func decided(body wire.GovernanceBody) state.GovernedLane {
	governed := state.GovernedLane{
		Version: body.Version, Generation: body.Generation, Height: body.Height, BlockHash: body.BlockHash,
	}
	if body.Action == actionDropLane {
		governed.Dropped = isOn
	}
	return governed
}

func lawfulDecision(g wire.Governance, before state.GovernedLane) bool {
	switch g.Action {
	case actionResumeLane:
		return g.Generation == before.Generation+1 && !g.BlockHash.IsZero()
	case actionDropLane:
		return g.Generation == before.Generation && g.Height == 0 && g.BlockHash.IsZero()
	}
	return false
}
