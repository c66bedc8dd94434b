package contract

import (
	"regexp"
	"testing"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"caimi.local/onchain/fabric/internal/fuzztest"
	"caimi.local/onchain/fabric/internal/vectortest"
)

// What a refusal says: its name, and the values that were compared.
var refusalText = regexp.MustCompile(`^[A-Z][A-Za-z0-9]+(: [0-9a-zA-Z]+(, [0-9a-zA-Z]+)*)?$`)

// Calls and views on a registry in the middle of its life; nothing of what they do is kept.
func FuzzArguments(f *testing.F) {
	var suite struct{ Cases []scenario }
	vectortest.Read(f, "registry/fabric.json", &suite)
	w := suite.Cases[0].world(f)
	for i, s := range suite.Cases {
		for _, step := range s.Steps {
			f.Add(false, []byte(step.Call))
			if i == 0 && step.Error == "" {
				w.now = step.Now
				w.ledger.Commit(w.simulate("call", step.Call))
			}
		}
	}
	for selector := range views {
		f.Add(true, append(selector[:], make([]byte, 64)...))
	}
	f.Fuzz(func(t *testing.T, isView bool, argument []byte) {
		fuzztest.Bounded(t, func() {
			function := "call"
			if isView {
				function = "view"
			}
			done := w.simulate(function, argument)
			if done.Response.GetStatus() == shim.OK {
				return
			}
			if text := done.Response.GetMessage(); !refusalText.MatchString(text) {
				t.Fatalf("refused with %q", text)
			}
			requireNoWrites(t, done)
		})
	})
}
