package wire

import (
	"fmt"
	"reflect"
	"sort"
	"strings"
	"sync"
)

type shape int

const (
	shapeUint    shape = iota // uint8 to uint64
	shapeAddress              // [20]byte, to the right of its word
	shapeUint128              // [16]byte, to the right of its word
	shapeBytes32              // [32]byte
	shapeBytes                // bytes and string
	shapeList
	shapeStruct
)

const wordSize = 32

// A layout says how one Go type stands in ABI and EIP-712. It is derived from the type, so that every record is written once.
type layout struct {
	shape   shape
	name    string // type name in EIP-712: "uint8", "Lane", "Lane[]"
	abi     string // canonical ABI type: "(bytes32,bytes32)[]"
	bits    int    // of shapeUint
	dynamic bool
	head    int // bytes in the head of the enclosing tuple; 32 for a dynamic type
	element *layout
	fields  []field
	hash    Bytes32 // EIP-712's typeHash, of shapeStruct
}

type field struct {
	name   string
	layout *layout
}

var layouts sync.Map // reflect.Type -> *layout

func layoutOf(t reflect.Type) *layout {
	if known, ok := layouts.Load(t); ok {
		return known.(*layout)
	}
	made := makeLayout(t)
	layouts.Store(t, made)
	return made
}

func makeLayout(t reflect.Type) *layout {
	simple := func(s shape, name string, bits int, dynamic bool) *layout {
		return &layout{shape: s, name: name, abi: name, bits: bits, dynamic: dynamic, head: wordSize}
	}
	switch t.Kind() {
	case reflect.Uint8, reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return simple(shapeUint, t.Kind().String(), t.Bits(), false)
	case reflect.String:
		return simple(shapeBytes, "string", 0, true)
	case reflect.Array:
		switch t.Len() {
		case 16:
			return simple(shapeUint128, "uint128", 0, false)
		case 20:
			return simple(shapeAddress, "address", 0, false)
		case 32:
			return simple(shapeBytes32, "bytes32", 0, false)
		}
	case reflect.Slice:
		if t.Elem().Kind() == reflect.Uint8 {
			return simple(shapeBytes, "bytes", 0, true)
		}
		element := layoutOf(t.Elem())
		made := simple(shapeList, element.name+"[]", 0, true)
		made.abi, made.element = element.abi+"[]", element
		return made
	case reflect.Struct:
		return makeStruct(t)
	}
	panic(fmt.Sprintf("wire: %s has no ABI form", t)) // a fault of the program, found by any test that touches the record
}

func makeStruct(t reflect.Type) *layout {
	made := &layout{shape: shapeStruct, name: t.Name()}
	abi := make([]string, t.NumField())
	for i := range t.NumField() {
		f := t.Field(i)
		inner := layoutOf(f.Type)
		made.fields = append(made.fields, field{strings.ToLower(f.Name[:1]) + f.Name[1:], inner})
		made.dynamic = made.dynamic || inner.dynamic
		made.head += inner.head
		abi[i] = inner.abi
	}
	made.abi = "(" + strings.Join(abi, ",") + ")"
	if made.dynamic {
		made.head = wordSize
	}
	made.hash = Keccak256([]byte(made.encodeType()))
	return made
}

// inner is the size of the heads of all fields.
func (l *layout) inner() int {
	size := 0
	for _, f := range l.fields {
		size += f.layout.head
	}
	return size
}

// encodeType is EIP-712's: the struct, then its members' structs in alphabetical order.
func (l *layout) encodeType() string {
	members := map[string]*layout{}
	l.members(members)
	delete(members, l.name)
	names := make([]string, 0, len(members))
	for name := range members {
		names = append(names, name)
	}
	sort.Strings(names)
	text := l.describe()
	for _, name := range names {
		text += members[name].describe()
	}
	return text
}

func (l *layout) members(found map[string]*layout) {
	switch l.shape {
	case shapeList:
		l.element.members(found)
	case shapeStruct:
		found[l.name] = l
		for _, f := range l.fields {
			f.layout.members(found)
		}
	}
}

func (l *layout) describe() string {
	parts := make([]string, len(l.fields))
	for i, f := range l.fields {
		parts[i] = f.layout.name + " " + f.name
	}
	return l.name + "(" + strings.Join(parts, ",") + ")"
}

// SignatureOf gives the canonical ABI types of the values, as in a function's signature: "(bytes32,uint8)".
func SignatureOf(prototypes ...any) string {
	types := make([]string, len(prototypes))
	for i, prototype := range prototypes {
		types[i] = layoutOf(reflect.TypeOf(prototype)).abi
	}
	return "(" + strings.Join(types, ",") + ")"
}
