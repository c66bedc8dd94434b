package wire_test

import (
	"bytes"
	"fmt"
	"reflect"
	"testing"

	"caimi.local/onchain/fabric/internal/certificate"
	"caimi.local/onchain/fabric/internal/vectortest"
	"caimi.local/onchain/fabric/internal/wire"
)

var records = map[string]any{
	"Publication": wire.Publication{}, "Withdrawal": wire.Withdrawal{}, "Funding": wire.Funding{}, "Mint": wire.Mint{},
	"InferenceRequest": wire.InferenceRequest{}, "HostKey": wire.HostKey{}, "Answer": wire.Answer{},
	"LeaseRequest": wire.LeaseRequest{}, "PartialPost": wire.PartialPost{}, "BoardPost": wire.BoardPost{},
	"Checkpoint": wire.Checkpoint{}, "Revocation": wire.Revocation{},
	"Pause": wire.Pause{}, "Resume": wire.Resume{}, "Governance": wire.Governance{},
	"EpochSet": wire.EpochSet{}, "SetChange": wire.SetChange{}, "SetProposal": wire.SetProposal{},
}

type wireCase struct {
	TcID                                                    int
	Comment, Record, Error, Place, Field                    string
	Network, Encoded, StructHash, Digest, Signature, Signer vectortest.Hex
}

func (c wireCase) name() string { return fmt.Sprintf("%d: %s", c.TcID, c.Comment) }

// decoded reads the case's bytes as its record.
func (c wireCase) decoded(t *testing.T) (any, error) {
	t.Helper()
	prototype, ok := records[c.Record]
	if !ok {
		t.Fatalf("no record %s", c.Record)
	}
	pointer := reflect.New(reflect.TypeOf(prototype))
	err := wire.Decode(c.Encoded, wire.CallLimit, pointer.Interface())
	return pointer.Elem().Interface(), err
}

func TestWireVectors(t *testing.T) {
	for _, name := range []string{"wire/ledger.json", "wire/board.json", "wire/epochs.json"} {
		var suite struct {
			Network         vectortest.Hex
			Cases, Refusals []wireCase
		}
		vectortest.Read(t, name, &suite)
		for _, c := range suite.Cases {
			t.Run(name+"/"+c.name(), func(t *testing.T) { accepts(t, suite.Network.Word(t), c) })
		}
		for _, c := range suite.Refusals {
			t.Run(name+"/"+c.name(), func(t *testing.T) { refuses(t, suite.Network.Word(t), c) })
		}
	}
}

func accepts(t *testing.T, network wire.Bytes32, c wireCase) {
	record, err := c.decoded(t)
	if err != nil {
		t.Fatal(err)
	}
	if again := wire.Encode(record); !bytes.Equal(again, c.Encoded) {
		t.Errorf("encoded again: %x", again)
	}
	if hash := wire.HashStruct(record); hash != c.StructHash.Word(t) {
		t.Errorf("hashStruct %s", hash.Hex())
	}
	digest := wire.TypedDigest(network, record)
	if digest != c.Digest.Word(t) {
		t.Errorf("digest %s", digest.Hex())
	}
	signer, err := certificate.Recover(digest, c.Signature)
	if err != nil || !bytes.Equal(signer[:], c.Signer) {
		t.Errorf("signer %s, %v", signer.Hex(), err)
	}
}

func refuses(t *testing.T, network wire.Bytes32, c wireCase) {
	record, err := c.decoded(t)
	if c.Place == "encode" {
		if err == nil || err.Error() != c.Error {
			t.Fatalf("got %v, want %s", err, c.Error)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	if c.Network != nil {
		network = c.Network.Word(t)
	}
	signer, err := certificate.Recover(wire.TypedDigest(network, record), c.Signature)
	if err == nil && bytes.Equal(signer[:], c.Signer) {
		t.Fatalf("a change of %s does not show in the digest", c.Field)
	}
}

type eventCase struct {
	TcID                           int
	Comment, Error                 string
	Width                          uint64
	Indices                        []uint64
	Proof                          []vectortest.Hex
	Encoded, EventHash, Leaf, Root vectortest.Hex
}

func TestEventVectors(t *testing.T) {
	var suite struct {
		Source                        vectortest.Hex
		Items, Runs, Proofs, Refusals []eventCase
	}
	vectortest.Read(t, "events/run.json", &suite)
	var source wire.Lane
	if err := wire.Decode(suite.Source, wire.CallLimit, &source); err != nil {
		t.Fatal(err)
	}
	var leaves []wire.Bytes32
	for _, c := range suite.Items {
		item := itemOf(t, c)
		if hash := wire.EventHash(item.Event); hash != c.EventHash.Word(t) {
			t.Errorf("%d: event hash %s", c.TcID, hash.Hex())
		}
		leaves = append(leaves, wire.LeafHash(source, item))
		if leaf := leaves[len(leaves)-1]; leaf != c.Leaf.Word(t) {
			t.Errorf("%d: leaf %s", c.TcID, leaf.Hex())
		}
	}
	for _, c := range suite.Runs {
		indices := make([]uint64, c.Width)
		for i := range indices {
			indices[i] = uint64(i)
		}
		if root, err := wire.MultiproofRoot(c.Width, indices, leaves[:c.Width], nil); err != nil || root != c.Root.Word(t) {
			t.Errorf("%d: %s: root %s, %v", c.TcID, c.Comment, root.Hex(), err)
		}
	}
	for _, c := range append(suite.Proofs, suite.Refusals...) {
		t.Run(fmt.Sprintf("%d: %s", c.TcID, c.Comment), func(t *testing.T) {
			root, err := rootOf(t, c, source, leaves)
			if err == nil && root != c.Root.Word(t) {
				err = wire.WrongRoot.With(c.Root.Word(t), root)
			}
			if got := codeOf(err); got != c.Error {
				t.Fatalf("got %q (%v), want %q", got, err, c.Error)
			}
		})
	}
}

func rootOf(t *testing.T, c eventCase, source wire.Lane, leaves []wire.Bytes32) (wire.Bytes32, error) {
	if c.Encoded != nil {
		return wire.LeafHash(source, itemOf(t, c)), nil
	}
	given, proof := []wire.Bytes32{}, []wire.Bytes32{}
	for _, index := range c.Indices {
		given = append(given, leaves[index%uint64(len(leaves))])
	}
	for _, node := range c.Proof {
		proof = append(proof, node.Word(t))
	}
	return wire.MultiproofRoot(c.Width, c.Indices, given, proof)
}

func itemOf(t *testing.T, c eventCase) wire.Item {
	t.Helper()
	var item wire.Item
	if err := wire.Decode(c.Encoded, wire.CallLimit, &item); err != nil {
		t.Fatal(err)
	}
	return item
}

func codeOf(err error) string {
	if refusal, ok := err.(*wire.Refusal); ok {
		return refusal.Code.Name
	}
	return ""
}
