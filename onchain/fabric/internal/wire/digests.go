package wire

import (
	"encoding/binary"

	"golang.org/x/crypto/sha3"
)

// Domain tags that registries hash with (spec 10 §1): ASCII, zero-padded on the right.
var (
	tagGenesis    = tag("CAIMI/1/genesis")
	tagEvent      = tag("CAIMI/1/event")
	tagLeaf       = tag("CAIMI/1/leaf")
	tagPolicyOpen = tag("CAIMI/1/policy-open")
	tagBatchItem  = tag("CAIMI/1/batch-item")
)

// PolicyOpen is the policy that lets everybody in; it has to be named.
var PolicyOpen = Keccak256(tagPolicyOpen[:])

func tag(text string) Bytes32 {
	var padded Bytes32
	copy(padded[:], text)
	return padded
}

// Keccak256 hashes the concatenation of the parts (the original padding, as on Ethereum).
func Keccak256(parts ...[]byte) Bytes32 {
	h := sha3.NewLegacyKeccak256()
	for _, part := range parts {
		h.Write(part)
	}
	var sum Bytes32
	h.Sum(sum[:0])
	return sum
}

// NetworkID is keccak256(abi.encode(tag, Genesis)) (spec 10 §7).
func NetworkID(genesis Genesis) Bytes32 { return Keccak256(Encode(tagGenesis, genesis)) }

// RegistryID is keccak256("channel/chaincode") (spec 00 §3).
func RegistryID(channel, chaincode string) Bytes32 {
	return Keccak256([]byte(channel + "/" + chaincode))
}

// LaneHash is keccak256(chain || registry): the key of a lane in storage.
func LaneHash(lane Lane) Bytes32 { return Keccak256(lane.Chain[:], lane.Registry[:]) }

// EventHash is spec 10 §5's.
func EventHash(event Event) Bytes32 {
	destinations := make([]byte, 0, 64*len(event.Destinations))
	for _, d := range event.Destinations {
		destinations = append(append(destinations, d.Chain[:]...), d.Registry[:]...)
	}
	to, body := Keccak256(destinations), Keccak256(event.Body)
	schema, kind := number(uint64(event.Schema)), number(uint64(event.Kind))
	return Keccak256(tagEvent[:], schema[:], kind[:], to[:], event.Subject[:], body[:])
}

// LeafHash is spec 10 §6's: hashed twice, apart from nodes.
func LeafHash(source Lane, item Item) Bytes32 {
	sequence, event := number(item.Sequence), EventHash(item.Event)
	inner := Keccak256(tagLeaf[:], source.Chain[:], source.Registry[:], sequence[:], event[:])
	return Keccak256([]byte{0}, inner[:])
}

// BatchLeaf is spec 37 §1's: a publication at its place in a batch.
func BatchLeaf(index uint64, id Bytes32) Bytes32 {
	place := number(index)
	inner := Keccak256(tagBatchItem[:], place[:], id[:])
	return Keccak256([]byte{0}, inner[:])
}

func number(n uint64) Bytes32 {
	var word Bytes32
	binary.BigEndian.PutUint64(word[24:], n)
	return word
}
