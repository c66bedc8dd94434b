// Package ledgertest is a Fabric ledger in memory: it simulates transactions against committed state, as an endorser
// does, and commits them with the check that a peer makes (MVCC: what was read has not changed).
package ledgertest

import (
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/common"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/timestamppb"
)

// Ledger holds committed state. The zero value is not usable: see New.
type Ledger struct {
	channel, chaincode string
	values             map[string]version
	private            map[string][]byte
	height             uint64
}

type version struct {
	value  []byte
	height uint64
}

// Proposal is one invocation.
type Proposal struct {
	Function  string
	Argument  []byte
	Timestamp time.Time
	Transient map[string][]byte
	Invoked   string // chaincode that the signed proposal names; empty for this one
}

// Transaction is what simulating a proposal gave.
type Transaction struct {
	Response *peer.Response
	Reads    map[string]uint64 // height of what was read, 0 for absent
	Writes   map[string][]byte
	Private  map[string][]byte
	Events   []Event // a peer keeps the last one only

	Exchanges int // with the peer, to read
}

// Event is what a call told.
type Event struct {
	Name    string
	Payload []byte
}

// Wrote tells whether the transaction would change anything or tell anybody.
func (t *Transaction) Wrote() bool { return len(t.Writes)+len(t.Private)+len(t.Events) != 0 }

// Told is the payload of the single event, nil if there was none.
func (t *Transaction) Told() []byte {
	if len(t.Events) == 0 {
		return nil
	}
	return t.Events[len(t.Events)-1].Payload
}

// New makes an empty ledger of one chaincode.
func New(channel, chaincode string) *Ledger {
	return &Ledger{channel: channel, chaincode: chaincode, values: map[string]version{}, private: map[string][]byte{}}
}

// Simulate runs a proposal against committed state.
func (l *Ledger) Simulate(chaincode shim.Chaincode, proposal Proposal) *Transaction {
	stub := NewStub(l, proposal)
	stub.result.Response = chaincode.Invoke(stub)
	return stub.result
}

// Commit applies transactions of one block in order. It tells for each whether it was VALID.
func (l *Ledger) Commit(block ...*Transaction) []bool {
	l.height++
	valid := make([]bool, len(block))
	for i, transaction := range block {
		valid[i] = transaction.Response.GetStatus() == shim.OK
		for key, height := range transaction.Reads {
			valid[i] = valid[i] && l.values[key].height == height
		}
		if !valid[i] {
			continue
		}
		for key, value := range transaction.Writes {
			l.values[key] = version{value, l.height}
		}
		for key, value := range transaction.Private {
			l.private[key] = value
		}
	}
	return valid
}

// Purge forgets private data, as blockToLive does.
func (l *Ledger) Purge() { clear(l.private) }

// Stub is the part of the shim that a registry uses. Another method is a nil dereference, which a test cannot overlook.
type Stub struct {
	shim.ChaincodeStubInterface
	ledger   *Ledger
	proposal Proposal
	result   *Transaction
}

// NewStub makes the stub of one proposal.
func NewStub(l *Ledger, proposal Proposal) *Stub {
	if proposal.Invoked == "" {
		proposal.Invoked = l.chaincode
	}
	return &Stub{ledger: l, proposal: proposal, result: &Transaction{
		Reads: map[string]uint64{}, Writes: map[string][]byte{}, Private: map[string][]byte{},
	}}
}

// Transaction gives what the stub has recorded.
func (s *Stub) Transaction() *Transaction { return s.result }

func (s *Stub) GetArgs() [][]byte { return [][]byte{[]byte(s.proposal.Function), s.proposal.Argument} }

func (s *Stub) GetChannelID() string { return s.ledger.channel }

func (s *Stub) GetTransient() (map[string][]byte, error) { return s.proposal.Transient, nil }

func (s *Stub) GetTxTimestamp() (*timestamppb.Timestamp, error) {
	return timestamppb.New(s.proposal.Timestamp), nil
}

// GetState reads committed state only: a stub does not see its own writes.
func (s *Stub) GetState(key string) ([]byte, error) {
	s.result.Exchanges++
	return s.read(key), nil
}

func (s *Stub) read(key string) []byte {
	found := s.ledger.values[key]
	s.result.Reads[key] = found.height
	return found.value
}

func (s *Stub) GetMultipleStates(keys ...string) ([][]byte, error) {
	s.result.Exchanges++
	values := make([][]byte, len(keys))
	for i, key := range keys {
		values[i] = s.read(key)
	}
	return values, nil
}

func (s *Stub) PutState(key string, value []byte) error {
	s.result.Writes[key] = value
	return nil
}

func (s *Stub) GetPrivateData(_, key string) ([]byte, error) {
	return s.ledger.private[key], nil
}

func (s *Stub) PutPrivateData(_, key string, value []byte) error {
	s.result.Private[key] = value
	return nil
}

func (s *Stub) StartWriteBatch() {}

func (s *Stub) FinishWriteBatch() error { return nil }

func (s *Stub) SetEvent(name string, payload []byte) error {
	s.result.Events = append(s.result.Events, Event{name, payload})
	return nil
}

// GetSignedProposal builds what a client would have signed.
func (s *Stub) GetSignedProposal() (*peer.SignedProposal, error) {
	var data []byte
	for _, wrap := range []func() proto.Message{
		func() proto.Message {
			return &peer.ChaincodeHeaderExtension{ChaincodeId: &peer.ChaincodeID{Name: s.proposal.Invoked}}
		},
		func() proto.Message { return &common.ChannelHeader{ChannelId: s.ledger.channel, Extension: data} },
		func() proto.Message { return &common.Header{ChannelHeader: data} },
		func() proto.Message { return &peer.Proposal{Header: data} },
	} {
		encoded, err := proto.Marshal(wrap())
		if err != nil {
			return nil, err
		}
		data = encoded
	}
	return &peer.SignedProposal{ProposalBytes: data}, nil
}
