package wire

import (
	"fmt"
	"math/big"
	"strconv"
	"strings"
)

// Code is a reason for saying no: its name and its stable number (spec/errors.toml).
type Code struct {
	Name   string
	Number uint16
}

// With makes a refusal that carries the compared values, in the order of the table.
func (c Code) With(values ...any) *Refusal { return &Refusal{Code: c, Values: values} }

// Refusal is the protocol saying no. A call that is refused writes nothing.
type Refusal struct {
	Code   Code
	Values []any
}

// Error gives `NAME` or `NAME: value, value`, which is the message that clients parse.
func (r *Refusal) Error() string {
	if len(r.Values) == 0 {
		return r.Code.Name
	}
	shown := make([]string, len(r.Values))
	for i, value := range r.Values {
		shown[i] = show(value)
	}
	return r.Code.Name + ": " + strings.Join(shown, ", ")
}

func show(value any) string {
	switch v := value.(type) {
	case Bytes32:
		return v.Hex()
	case Address:
		return v.Hex()
	case Uint128:
		return v.Big().String()
	case *big.Int:
		return v.String()
	case uint64:
		return strconv.FormatUint(v, 10)
	default:
		return fmt.Sprint(v)
	}
}
