package wire

import (
	"encoding/binary"
	"reflect"
)

// Limits of the decoder. Depth is bounded by the record types themselves.
const (
	CallLimit  = 8 << 20 // bytes of one call's arguments
	BodyLimit  = 1024    // bytes of an event's body
	StateLimit = 8 << 20 // bytes of a stored value
	listLimit  = 4096    // elements of one list
)

// Encode gives the ABI encoding of the values as a list of arguments.
func Encode(values ...any) []byte {
	reflected, layouts := make([]reflect.Value, len(values)), make([]*layout, len(values))
	for i, value := range values {
		reflected[i] = reflect.ValueOf(value)
		layouts[i] = layoutOf(reflected[i].Type())
	}
	return encodeTuple(nil, layouts, reflected)
}

// EncodeFields gives the encoding of a struct's fields as a list of arguments: what a function that returns them answers.
func EncodeFields(record any) []byte {
	v := reflect.ValueOf(record)
	layouts, values := parts(layoutOf(v.Type()), v)
	return encodeTuple(nil, layouts, values)
}

// Decode reads a list of arguments into the pointers. Only the canonical encoding is accepted: tails in order, without
// gaps or sharing, padding zero, nothing left over. Anything else, or more than `limit` bytes, is BadEncoding.
func Decode(data []byte, limit int, into ...any) error {
	if len(data) > limit {
		return BadEncoding.With()
	}
	values, layouts := make([]reflect.Value, len(into)), make([]*layout, len(into))
	for i, pointer := range into {
		values[i] = reflect.ValueOf(pointer).Elem()
		layouts[i] = layoutOf(values[i].Type())
	}
	return decodeTuple(data, layouts, values)
}

// DecodeFields is the inverse of EncodeFields, as strict as Decode.
func DecodeFields(data []byte, limit int, record any) error {
	if len(data) > limit {
		return BadEncoding.With()
	}
	v := reflect.ValueOf(record).Elem()
	layouts, values := parts(layoutOf(v.Type()), v)
	return decodeTuple(data, layouts, values)
}

func decodeTuple(data []byte, layouts []*layout, values []reflect.Value) error {
	r := reader{data: data}
	end, ok := r.tuple(0, layouts, values)
	if !ok || end != len(data) {
		return BadEncoding.With()
	}
	return nil
}

func parts(l *layout, v reflect.Value) ([]*layout, []reflect.Value) {
	count := len(l.fields)
	if l.shape == shapeList {
		count = v.Len()
	}
	layouts, values := make([]*layout, count), make([]reflect.Value, count)
	for i := range count {
		if l.shape == shapeList {
			layouts[i], values[i] = l.element, v.Index(i)
		} else {
			layouts[i], values[i] = l.fields[i].layout, v.Field(i)
		}
	}
	return layouts, values
}

func encodeTuple(out []byte, layouts []*layout, values []reflect.Value) []byte {
	start, head := len(out), 0
	for _, l := range layouts {
		head += l.head
	}
	out = append(out, make([]byte, head)...)
	at := start
	for i, l := range layouts {
		if l.dynamic {
			binary.BigEndian.PutUint64(out[at+24:], uint64(len(out)-start))
			out = encodeTail(out, l, values[i])
		} else {
			encodeStatic(out[at:at], l, values[i])
		}
		at += l.head
	}
	return out
}

func encodeTail(out []byte, l *layout, v reflect.Value) []byte {
	switch l.shape {
	case shapeBytes:
		var content []byte
		if v.Kind() == reflect.String {
			content = []byte(v.String())
		} else {
			content = v.Bytes()
		}
		out = append(appendUint(out, uint64(len(content))), content...)
		return append(out, make([]byte, padding(len(content)))...)
	case shapeList:
		out = appendUint(out, uint64(v.Len()))
	}
	layouts, values := parts(l, v)
	return encodeTuple(out, layouts, values)
}

// encodeStatic appends; the caller has reserved the room.
func encodeStatic(out []byte, l *layout, v reflect.Value) []byte {
	if l.shape == shapeStruct {
		for i, f := range l.fields {
			out = encodeStatic(out, f.layout, v.Field(i))
		}
		return out
	}
	word := wordOf(l, v)
	return append(out, word[:]...)
}

// wordOf gives the 32 bytes of an elementary static value.
func wordOf(l *layout, v reflect.Value) Bytes32 {
	var word Bytes32
	if l.shape == shapeUint {
		binary.BigEndian.PutUint64(word[24:], v.Uint())
		return word
	}
	size := v.Len()
	if v.CanAddr() {
		copy(word[wordSize-size:], v.Bytes())
	} else {
		reflect.Copy(reflect.ValueOf(word[wordSize-size:]), v)
	}
	return word
}

func appendUint(out []byte, n uint64) []byte {
	return binary.BigEndian.AppendUint64(append(out, make([]byte, 24)...), n)
}

func padding(size int) int { return (wordSize - size%wordSize) % wordSize }

// A reader walks over canonical data once: tail is where the next dynamic value has to begin.
type reader struct{ data []byte }

func (r reader) word(at int) (*Bytes32, bool) {
	if at < 0 || len(r.data)-at < wordSize {
		return nil, false
	}
	return (*Bytes32)(r.data[at : at+wordSize]), true
}

// size reads a length or offset; numbers beyond the data are refused by its callers.
func (r reader) size(at int) (int, bool) {
	word, ok := r.word(at)
	if !ok {
		return 0, false
	}
	n := binary.BigEndian.Uint64(word[24:])
	return int(n), allZero(word[:24]) && n <= uint64(len(r.data))
}

// tuple reads heads at `base` and their tails behind them; it gives the place after the last tail.
func (r reader) tuple(base int, layouts []*layout, values []reflect.Value) (int, bool) {
	tail := base
	for _, l := range layouts {
		tail += l.head
	}
	if tail > len(r.data) {
		return 0, false
	}
	at := base
	for i, l := range layouts {
		ok := true
		if l.dynamic {
			var offset int
			if offset, ok = r.size(at); !ok || base+offset != tail {
				return 0, false
			}
			tail, ok = r.tail(tail, l, values[i])
		} else {
			ok = r.static(at, l, values[i])
		}
		if !ok {
			return 0, false
		}
		at += l.head
	}
	return tail, true
}

func (r reader) tail(at int, l *layout, v reflect.Value) (int, bool) {
	if l.shape == shapeStruct {
		layouts, values := parts(l, v)
		return r.tuple(at, layouts, values)
	}
	count, ok := r.size(at)
	if !ok {
		return 0, false
	}
	at += wordSize
	if l.shape == shapeBytes {
		return r.content(at, count, v)
	}
	if count > listLimit || count*l.element.head > len(r.data)-at {
		return 0, false
	}
	v.Set(reflect.MakeSlice(v.Type(), count, count))
	layouts, values := parts(l, v)
	return r.tuple(at, layouts, values)
}

func (r reader) content(at, count int, v reflect.Value) (int, bool) {
	end := at + count + padding(count)
	if end > len(r.data) || !allZero(r.data[at+count:end]) {
		return 0, false
	}
	content := r.data[at : at+count]
	if v.Kind() == reflect.String {
		v.SetString(string(content)) // any bytes: what text is lawful is a rule of the record, not of its encoding
	} else {
		v.SetBytes(append([]byte{}, content...))
	}
	return end, true
}

func (r reader) static(at int, l *layout, v reflect.Value) bool {
	if l.shape == shapeStruct {
		for i, f := range l.fields {
			if !r.static(at, f.layout, v.Field(i)) {
				return false
			}
			at += f.layout.head
		}
		return true
	}
	word, ok := r.word(at)
	if !ok {
		return false
	}
	if l.shape == shapeUint {
		v.SetUint(binary.BigEndian.Uint64(word[24:]))
		return allZero(word[:wordSize-l.bits/8])
	}
	size := v.Len()
	copy(v.Bytes(), word[wordSize-size:])
	return allZero(word[:wordSize-size])
}

func allZero(data []byte) bool {
	for _, b := range data {
		if b != 0 {
			return false
		}
	}
	return true
}
