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
