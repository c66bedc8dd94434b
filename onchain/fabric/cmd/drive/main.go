// Command drive runs the registry on a ledger in memory, for tests in other languages. It reads one JSON object per line
// and answers each with one: {"function","argument","now","clock","transient","dry"} gives {"status","message","payload","event"}.
// A successful invocation other than a view is committed, unless "dry" is true.
package main

import (
	"bufio"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"caimi.local/onchain/fabric/internal/contract"
	"caimi.local/onchain/fabric/internal/ledgertest"
)

type request struct {
	Function  string            `json:"function"`
	Argument  string            `json:"argument"`
	Now       int64             `json:"now"`   // the transaction's timestamp, Unix seconds
	Clock     int64             `json:"clock"` // the endorser's clock; 0 for the timestamp
	Transient map[string]string `json:"transient"`
	Dry       bool              `json:"dry"`
}

type response struct {
	Status  int32           `json:"status"`
	Message string          `json:"message"`
	Payload string          `json:"payload"`
	Event   json.RawMessage `json:"event"`
}

func main() {
	if len(os.Args) != 3 {
		fmt.Fprintln(os.Stderr, "usage: drive CHANNEL CHAINCODE")
		os.Exit(2)
	}
	if err := serve(ledgertest.New(os.Args[1], os.Args[2]), os.Stdin, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "drive:", err)
		os.Exit(1)
	}
}

func serve(ledger *ledgertest.Ledger, in io.Reader, out io.Writer) error {
	lines, answers := json.NewDecoder(bufio.NewReader(in)), json.NewEncoder(out)
	for {
		var r request
		if err := lines.Decode(&r); err == io.EOF {
			return nil
		} else if err != nil {
			return err
		}
		answer, err := invoke(ledger, r)
		if err != nil {
			return err
		}
		if err := answers.Encode(answer); err != nil {
			return err
		}
	}
}

func invoke(ledger *ledgertest.Ledger, r request) (*response, error) {
	argument, err := unhex(r.Argument)
	if err != nil {
		return nil, err
	}
	proposal := ledgertest.Proposal{
		Function: r.Function, Argument: argument, Timestamp: time.Unix(r.Now, 0), Transient: map[string][]byte{},
	}
	for name, text := range r.Transient {
		if proposal.Transient[name], err = unhex(text); err != nil {
			return nil, err
		}
	}
	clock := r.Clock
	if clock == 0 {
		clock = r.Now
	}
	chaincode := &contract.Chaincode{Clock: func() time.Time { return time.Unix(clock, 0) }}
	done := ledger.Simulate(chaincode, proposal)
	status := done.Response.GetStatus()
	if status == shim.OK && !r.Dry && r.Function != "view" && !ledger.Commit(done)[0] {
		return nil, fmt.Errorf("a transaction alone in its block is not VALID")
	}
	if status != shim.OK && done.Wrote() {
		return nil, fmt.Errorf("a refused call has written: %s", done.Response.GetMessage())
	}
	return &response{
		Status: status, Message: done.Response.GetMessage(),
		Payload: "0x" + hex.EncodeToString(done.Response.GetPayload()), Event: done.Told(),
	}, nil
}

func unhex(text string) ([]byte, error) { return hex.DecodeString(strings.TrimPrefix(text, "0x")) }
