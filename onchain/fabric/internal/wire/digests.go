package wire

import (
	"encoding/binary"
	"reflect"

	"golang.org/x/crypto/sha3"
)

// Domain tags that registries hash with (spec 10 §1): ASCII, zero-padded on the right.
var (
	tagGenesis    = tag("CAIMI/1/genesis")
	tagEvent      = tag("CAIMI/1/event")
	tagLeaf       = tag("CAIMI/1/leaf")
	tagPolicyOpen = tag("CAIMI/1/policy-open")
)

// PolicyOpen is the policy that lets everybody in; it has to be named.
var PolicyOpen = Keccak256(tagPolicyOpen[:])

var (
	domainType    = Keccak256([]byte("EIP712Domain(string name,string version,bytes32 salt)"))
	domainName    = Keccak256([]byte("CAIMI"))
	domainVersion = Keccak256([]byte("1"))
)

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

// HashStruct is EIP-712's hashStruct of a record.
func HashStruct(record any) Bytes32 {
	v := reflect.ValueOf(record)
	return hashValue(layoutOf(v.Type()), v)
}

func hashValue(l *layout, v reflect.Value) Bytes32 {
	switch l.shape {
	case shapeBytes:
		if v.Kind() == reflect.String {
			return Keccak256([]byte(v.String()))
		}
		return Keccak256(v.Bytes())
	case shapeList:
		return Keccak256(hashParts(nil, l, v))
	case shapeStruct:
		typeHash := Keccak256([]byte(l.encodeType()))
		return Keccak256(hashParts(typeHash[:], l, v))
	}
	return wordOf(l, v)
}

func hashParts(out []byte, l *layout, v reflect.Value) []byte {
	layouts, values := parts(l, v)
	for i := range layouts {
		word := hashValue(layouts[i], values[i])
		out = append(out, word[:]...)
	}
	return out
}

// TypedDigest is what is signed: keccak256(0x1901 || domain separator || hashStruct(record)). A publication's is its id.
func TypedDigest(network Bytes32, record any) Bytes32 {
	separator := Keccak256(domainType[:], domainName[:], domainVersion[:], network[:])
	hash := HashStruct(record)
	return Keccak256([]byte{0x19, 0x01}, separator[:], hash[:])
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

func number(n uint64) Bytes32 {
	var word Bytes32
	binary.BigEndian.PutUint64(word[24:], n)
	return word
}
