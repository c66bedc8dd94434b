package wire

import "reflect"

var (
	domainType    = Keccak256([]byte("EIP712Domain(string name,string version,bytes32 salt)"))
	domainName    = Keccak256([]byte("CAIMI"))
	domainVersion = Keccak256([]byte("1"))
)

// What is remembered of one network's records: inner ones of at most that many bytes, as the lanes of publications are,
// which are the same in a whole batch.
const (
	memoSize    = 8 * wordSize
	memoEntries = 64
)

// A TypedHasher makes EIP-712 digests of one network's records. One goroutine uses it at a time.
type TypedHasher struct {
	separator Bytes32
	buffer    []byte
	memo      map[string]Bytes32
}

// NewTypedHasher makes one that has hashed nothing yet.
func NewTypedHasher(network Bytes32) *TypedHasher {
	separator := Keccak256(domainType[:], domainName[:], domainVersion[:], network[:])
	return &TypedHasher{separator: separator, memo: map[string]Bytes32{}}
}

// Digest is what is signed: keccak256(0x1901 || domain separator || hashStruct(record)). A publication's is its id.
func (h *TypedHasher) Digest(record any) Bytes32 {
	hash := h.HashStruct(record)
	return Keccak256([]byte{0x19, 0x01}, h.separator[:], hash[:])
}

// HashStruct is EIP-712's hashStruct of a record.
func (h *TypedHasher) HashStruct(record any) Bytes32 {
	// A copy that has an address: its bytes are read where they lie.
	v := reflect.New(reflect.TypeOf(record)).Elem()
	v.Set(reflect.ValueOf(record))
	return h.hash(layoutOf(v.Type()), v)
}

func (h *TypedHasher) hash(l *layout, v reflect.Value) Bytes32 {
	start := len(h.buffer)
	switch l.shape {
	case shapeBytes:
		if v.Kind() == reflect.String {
			return Keccak256([]byte(v.String()))
		}
		return Keccak256(v.Bytes())
	case shapeList:
		for i := range v.Len() {
			word := h.hash(l.element, v.Index(i))
			h.buffer = append(h.buffer, word[:]...)
		}
	case shapeStruct:
		h.buffer = append(h.buffer, l.hash[:]...)
		for i, f := range l.fields {
			word := h.hash(f.layout, v.Field(i))
			h.buffer = append(h.buffer, word[:]...)
		}
	default:
		return wordOf(l, v)
	}
	sum := h.sum(h.buffer[start:])
	h.buffer = h.buffer[:start]
	return sum
}

// sum remembers what it hashed, as far as it is short and there is room.
func (h *TypedHasher) sum(content []byte) Bytes32 {
	if len(content) > memoSize {
		return Keccak256(content)
	}
	if known, ok := h.memo[string(content)]; ok {
		return known
	}
	sum := Keccak256(content)
	if len(h.memo) < memoEntries {
		h.memo[string(content)] = sum
	}
	return sum
}

// HashStruct is EIP-712's hashStruct of a record.
func HashStruct(record any) Bytes32 { return NewTypedHasher(Bytes32{}).HashStruct(record) }

// TypedDigest is a single digest: see TypedHasher.
func TypedDigest(network Bytes32, record any) Bytes32 { return NewTypedHasher(network).Digest(record) }
