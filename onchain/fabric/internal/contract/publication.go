package contract

import (
	"regexp"

	"caimi.local/onchain/fabric/internal/wire"
)

// States of a publication at a registry (spec 30 §2).
const (
	stateNone       uint8 = 0
	stateLocked     uint8 = 1
	stateCommitted  uint8 = 2
	stateAborted    uint8 = 3
	stateRefused    uint8 = 4
	stateSuperseded uint8 = 5
	stateRevoked    uint8 = 6
)

// What a registry is to a publication.
const (
	roleHome   uint8 = 1
	roleMirror uint8 = 2
)

// Why home aborted.
const (
	reasonNone          uint8 = 0
	reasonDeadline      uint8 = 1
	reasonMirrorRefused uint8 = 2
	reasonNeverLocked   uint8 = 3
)

// What can happen to a publication at a registry.
type input int

const (
	inputLock input = iota
	inputRefuse
	inputAllLocked
	inputMirrorRefused
	inputDeadline
	inputNeverLocked
	inputHigherVersion
	inputHomeCommitted
	inputHomeAborted
	inputHomeSuperseded
	inputRevoked
)

type situation struct {
	role, state uint8
	happened    input
}

// Every transition there is; a pair that is absent is refused, or does nothing when the call is a repetition.
var transitions = map[situation]uint8{
	{roleHome, stateNone, inputLock}:                  stateLocked,
	{roleHome, stateNone, inputNeverLocked}:           stateAborted,
	{roleHome, stateLocked, inputAllLocked}:           stateCommitted,
	{roleHome, stateLocked, inputMirrorRefused}:       stateAborted,
	{roleHome, stateLocked, inputDeadline}:            stateAborted,
	{roleHome, stateCommitted, inputHigherVersion}:    stateSuperseded,
	{roleMirror, stateNone, inputLock}:                stateLocked,
	{roleMirror, stateNone, inputRefuse}:              stateRefused,
	{roleMirror, stateLocked, inputHomeCommitted}:     stateCommitted,
	{roleMirror, stateLocked, inputHomeAborted}:       stateAborted,
	{roleMirror, stateLocked, inputHomeSuperseded}:    stateSuperseded,
	{roleMirror, stateRefused, inputHomeAborted}:      stateAborted,
	{roleMirror, stateCommitted, inputHomeSuperseded}: stateSuperseded,
	{roleHome, stateCommitted, inputRevoked}:          stateRevoked,
	{roleHome, stateSuperseded, inputRevoked}:         stateRevoked,
	{roleMirror, stateCommitted, inputRevoked}:        stateRevoked,
	{roleMirror, stateSuperseded, inputRevoked}:       stateRevoked,
}

// What home's outcome is to a mirror.
var outcomeInputs = map[uint8]input{
	stateCommitted:  inputHomeCommitted,
	stateAborted:    inputHomeAborted,
	stateSuperseded: inputHomeSuperseded,
}

// step gives the next state: AlreadyDecided.
func step(role, state uint8, happened input) (uint8, error) {
	next, ok := transitions[situation{role, state, happened}]
	if !ok {
		return state, wire.AlreadyDecided.With(state)
	}
	return next, nil
}

const (
	formatVersion  = 1
	kindModel      = 1
	kindDataset    = 2
	codecRaw       = 0x55
	codecDagPb     = 0x70
	maxMirrorCount = 7
)

var namePattern = regexp.MustCompile(`\A[a-z0-9]([a-z0-9._-]{0,62}[a-z0-9])?\z`)

func checkCid(cid wire.Cid) error {
	if (cid.Codec != codecRaw && cid.Codec != codecDagPb) || cid.Digest.IsZero() {
		return wire.BadCid.With(cid.Codec)
	}
	return nil
}

// checkPublication finds what no time and no ledger state can mend, in the order of spec 30 §4.
func checkPublication(p wire.Publication) error {
	switch {
	case p.Format != formatVersion:
		return wire.UnsupportedFormat.With(p.Format)
	case p.Kind != kindModel && p.Kind != kindDataset:
		return wire.UnsupportedKind.With(p.Kind)
	case !namePattern.MatchString(p.Name):
		return wire.BadName.With()
	case p.Version < 1:
		return wire.BadVersion.With()
	}
	if err := checkCid(p.Ciphertext); err != nil {
		return err
	}
	switch {
	case p.PolicyHash != wire.PolicyOpen:
		return wire.UnsupportedPolicy.With(p.PolicyHash)
	case p.Terms != wire.Terms{}:
		return wire.UnsupportedTerms.With()
	case !p.ExtensionHash.IsZero():
		return wire.UnsupportedExtension.With(p.ExtensionHash)
	case !lawfulMirrors(p.Home, p.Mirrors):
		return wire.BadMirrors.With()
	}
	return nil
}

func lawfulMirrors(home wire.Lane, mirrors []wire.Lane) bool {
	if len(mirrors) < 1 || len(mirrors) > maxMirrorCount {
		return false
	}
	for i, mirror := range mirrors {
		if mirror == home || (i > 0 && mirrors[i-1].Compare(mirror) >= 0) {
			return false
		}
	}
	return true
}
