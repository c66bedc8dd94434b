package state

import "caimi.local/onchain/fabric/internal/wire"

// Config is given at creation, fixed for ever.
type Config struct {
	Genesis     wire.Genesis
	MinDeposit  wire.Uint128
	ClockWindow uint64 // seconds
	Channel     string
	Chaincode   string
	TokenIssuer wire.Address
	Chain       wire.Bytes32
	Limits      Limits
	Root        wire.Lane // all zero for this registry
}

// Limits bound what a fallen quorum can do (spec 35); zero means no cap.
type Limits struct {
	ResumeDelay   uint64       // seconds from a pause to the earliest resumption
	WithdrawalCap wire.Uint128 // of all withdrawals of an epoch together
	LeaseCap      uint64       // leases of one operator for one publication in an epoch
}

// RootLane is the registry whose word governs lanes.
func (c Config) RootLane() wire.Lane {
	if c.Root == (wire.Lane{}) {
		return c.Lane()
	}
	return c.Root
}

// GovernedLane is what governance decided last about a lane. Its fields are what the view `governed` answers.
type GovernedLane struct {
	Version    uint64 // 0 if it never did
	Generation uint64
	Height     uint64 // of the last block kept
	BlockHash  wire.Bytes32
	Dropped    uint8 // a bool has the encoding of 0 or 1
}

// Brakes say whether the registry is paused.
type Brakes struct {
	Paused  uint8 // a bool has the encoding of 0 or 1
	Counter uint64
	Since   uint64 // time of the last pause
}

// Lane is this registry as a source of events.
func (c Config) Lane() wire.Lane {
	return wire.Lane{Chain: c.Chain, Registry: wire.RegistryID(c.Channel, c.Chaincode)}
}

// Publication is one publication at this registry. Its fields up to Reason are what the view `publication` answers.
type Publication struct {
	Role      uint8
	State     uint8
	Publisher wire.Address
	Name      string
	Version   uint64
	Home      wire.Lane
	Mirrors   []wire.Lane
	Deposit   wire.Uint128 // held here now
	Deadline  uint64
	Awaited   uint8 // mirrors that home still waits for
	Reason    uint8
	Revoked   uint8 // what the view `isRevoked` answers: a bool has the encoding of 0 or 1
}

// Request is one inference request made here.
type Request struct {
	Request     wire.InferenceRequest
	ReceiptHash wire.Bytes32 // zero until ANSWERED
}
