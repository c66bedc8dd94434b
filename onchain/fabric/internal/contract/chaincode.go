package contract

import (
	"fmt"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"

	"caimi.local/onchain/fabric/internal/certificate"
	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

// Chaincode is the shim's entry. Function "call" takes selector||abi of a function, "view" selector||abi of a view,
// "init" the ABI-encoded configuration (state.Config's fields). A refusal is status 500 with message `NAME: value, value`.
type Chaincode struct {
	// Clock is the endorser's own clock. It can make a call refused, never change its result.
	Clock func() time.Time
}

// A clock window or delay beyond this has no meaning, and sums with it cannot overflow.
const windowBits = 32

// Init does nothing: the registry is created by calling "init".
func (c *Chaincode) Init(shim.ChaincodeStubInterface) *peer.Response { return shim.Success(nil) }

// Invoke runs one transaction.
func (c *Chaincode) Invoke(stub shim.ChaincodeStubInterface) *peer.Response {
	answer, err := c.invoke(stub)
	if err != nil {
		return shim.Error(err.Error())
	}
	return shim.Success(answer)
}

func (c *Chaincode) invoke(stub shim.ChaincodeStubInterface) ([]byte, error) {
	arguments := stub.GetArgs()
	if len(arguments) != 2 {
		return nil, wire.UnknownFunction.With()
	}
	ledger := state.New(stub)
	answer, out, err := c.run(stub, ledger, string(arguments[0]), arguments[1])
	// A failed read comes first: whatever was decided after it rests on nothing.
	if failure := ledger.Err(); failure != nil {
		return nil, fmt.Errorf("ledger: %w", failure)
	}
	if err != nil {
		return nil, err
	}
	return answer, publish(stub, ledger, out)
}

// run decides in memory; out is nil when there is nothing to write.
func (c *Chaincode) run(
	stub shim.ChaincodeStubInterface, ledger *state.Overlay, function string, argument []byte,
) ([]byte, *outbox, error) {
	config, exists := ledger.Config()
	if function == "init" {
		if exists {
			return nil, nil, wire.AlreadyInitialised.With()
		}
		return nil, &outbox{}, c.create(stub, ledger, argument)
	}
	if !exists {
		return nil, nil, wire.NotInitialised.With()
	}
	switch function {
	case "view":
		answer, err := view(ledger, config, argument)
		return answer, nil, err
	case "call":
		return c.call(stub, ledger, config, argument)
	}
	return nil, nil, wire.UnknownFunction.With()
}

func (c *Chaincode) create(stub shim.ChaincodeStubInterface, ledger *state.Overlay, argument []byte) error {
	var config state.Config
	if err := wire.DecodeFields(argument, wire.CallLimit, &config); err != nil {
		return err
	}
	// The registry id is what other ledgers will know this chaincode by: it has to be the true one.
	expected := wire.RegistryID(config.Channel, config.Chaincode)
	invoked, err := invokedChaincode(stub)
	if err != nil {
		return err
	}
	if actual := wire.RegistryID(stub.GetChannelID(), invoked); actual != expected || invoked != config.Chaincode {
		return wire.WrongRegistry.With(expected, actual)
	}
	if err := checkCreation(config); err != nil {
		return err
	}
	if _, err := c.checkClock(stub, config.ClockWindow); err != nil {
		return err
	}
	ledger.PutConfig(config)
	return nil
}

// checkCreation refuses what no registry is created with, in this order on every ledger (spec 30 §3).
func checkCreation(config state.Config) error {
	if config.MinDeposit.IsZero() {
		return wire.ZeroAmount.With()
	}
	for _, seconds := range []uint64{config.ClockWindow, config.Limits.ResumeDelay} {
		if seconds>>windowBits != 0 {
			return wire.OutOfRange.With(windowBits, seconds)
		}
	}
	return certificate.CheckGenesis(config.Genesis)
}

func (c *Chaincode) call(
	stub shim.ChaincodeStubInterface, ledger *state.Overlay, config state.Config, argument []byte,
) ([]byte, *outbox, error) {
	invoked, err := invokedChaincode(stub)
	if err != nil {
		return nil, nil, err
	}
	if invoked != config.Chaincode {
		return nil, nil, wire.ForbiddenCaller.With() // the event of a chaincode called by another one is lost
	}
	now, err := c.checkClock(stub, config.ClockWindow)
	if err != nil {
		return nil, nil, err
	}
	run, data, err := find(calls, argument)
	if err != nil {
		return nil, nil, err
	}
	r := newRegistry(ledger, config)
	r.now = now
	if r.transient, err = stub.GetTransient(); err != nil {
		return nil, nil, fmt.Errorf("ledger: transient data: %w", err)
	}
	answer, err := run(r, data)
	return answer, r.out, err
}

// checkClock gives the transaction's timestamp, which is the registry's clock: ClockSkew.
func (c *Chaincode) checkClock(stub shim.ChaincodeStubInterface, window uint64) (uint64, error) {
	stamp, err := stub.GetTxTimestamp()
	if err != nil {
		return 0, fmt.Errorf("ledger: timestamp: %w", err)
	}
	mine := c.Clock()
	skew := stamp.AsTime().Sub(mine).Abs()
	if stamp.GetSeconds() < 0 || skew > time.Duration(window)*time.Second {
		return 0, wire.ClockSkew.With(max(stamp.GetSeconds(), 0), mine.Unix())
	}
	return uint64(stamp.GetSeconds()), nil
}

// publish writes what the call decided. Nothing of a refused call reaches the peer.
func publish(stub shim.ChaincodeStubInterface, ledger *state.Overlay, out *outbox) error {
	if out == nil {
		return nil
	}
	payload, err := out.payload()
	if err != nil {
		return fmt.Errorf("event: %w", err)
	}
	if err := ledger.Flush(); err != nil {
		return fmt.Errorf("ledger: %w", err)
	}
	if payload == nil {
		return nil
	}
	return stub.SetEvent(EventName, payload)
}
