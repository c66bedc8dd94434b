package contract

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"reflect"
	"strings"
	"testing"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"caimi.local/onchain/fabric/internal/ledgertest"
	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/vectortest"
	"caimi.local/onchain/fabric/internal/wire"
)

type scenario struct {
	TcID    int
	Comment string
	Config  struct {
		Genesis, Lane, Root       vectortest.Hex
		MinDeposit, WithdrawalCap string
		ClockWindow, ResumeDelay  uint64
	}
	Accounts, Balances []struct {
		Address vectortest.Hex
		Balance string
	}
	Steps []struct {
		Now             int64
		Function, Error string
		Call, Arguments vectortest.Hex
		Events          int
	}
	Publications []struct {
		ID                           vectortest.Hex
		Role, State, Awaited, Reason uint8
		Deposit                      string
		Revoked                      bool
	}
	Brakes    [3]any // paused, counter, since
	Withdrawn string
	Governed  []struct {
		Lane, BlockHash             vectortest.Hex
		Version, Generation, Height uint64
		Dropped                     bool
	}
	Batches []struct {
		Home, Root                   vectortest.Hex
		Role, State, Awaited, Reason uint8
		Count                        uint16
		Taken, Deposits              string
		Earliest, Latest             uint64
	}
	BatchIDs []struct {
		Root vectortest.Hex
		IDs  []vectortest.Hex
	}
	States []struct {
		ID, Proof, Arguments vectortest.Hex
		Role, State          uint8
		Error                string
	}
	Epochs *struct {
		Present                       [3]uint64 // epoch, f, t
		Validators                    []vectortest.Hex
		Before, Announced             uint64
		Set, Transcript, AnnouncedSet vectortest.Hex
		Acknowledged                  []struct {
			Lane  vectortest.Hex
			Epoch uint64
		}
	}
	Leaves  []vectortest.Hex
	Applied [][3]uint64
}

func TestRegistryVectors(t *testing.T) {
	for _, name := range []string{
		"registry/fabric.json", "registry/fabric-brakes.json", "registry/fabric-batches.json", "registry/fabric-epochs.json",
	} {
		var suite struct {
			Network vectortest.Hex
			Cases   []scenario
		}
		vectortest.Read(t, name, &suite)
		for _, s := range suite.Cases {
			title := fmt.Sprintf("%s/%d: %s", name, s.TcID, s.Comment)
			t.Run(title, func(t *testing.T) { s.play(t, suite.Network.Word(t)) })
		}
	}
}

func TestCreationVectors(t *testing.T) {
	var suite struct{ Cases []creation }
	vectortest.Read(t, "registry/creation.json", &suite)
	for _, c := range suite.Cases {
		t.Run(fmt.Sprintf("%d: %s", c.TcID, c.Comment), c.play)
	}
}

type creation struct {
	TcID           int
	Comment, Error string
	Arguments      vectortest.Hex
	Network        vectortest.Hex
	Config         struct {
		Genesis, Root vectortest.Hex
		MinDeposit    string
		WithdrawalCap string
		ClockWindow   uint64 `json:",string"`
		ResumeDelay   uint64 `json:",string"`
	}
}

func (c creation) play(t *testing.T) {
	made := config
	if err := wire.Decode(c.Config.Genesis, wire.CallLimit, &made.Genesis); err != nil {
		t.Fatal(err)
	}
	made.MinDeposit = number128(t, c.Config.MinDeposit)
	made.ClockWindow, made.Limits.ResumeDelay = c.Config.ClockWindow, c.Config.ResumeDelay
	made.Limits.WithdrawalCap = number128(t, c.Config.WithdrawalCap)
	w := emptyWorld(t)
	if c.Error != "" {
		w.refuse(refusalMessage(t, c.Error, c.Arguments), "init", wire.EncodeFields(made))
		return
	}
	w.accept("init", wire.EncodeFields(made))
	var network wire.Bytes32
	if w.view("network", &network); network != c.Network.Word(t) {
		t.Errorf("network %s", network.Hex())
	}
}

func (s scenario) play(t *testing.T, network wire.Bytes32) {
	w := s.world(t)
	var actual wire.Bytes32
	if w.view("network", &actual); actual != network {
		t.Fatalf("network %s", actual.Hex())
	}
	var all outbox
	for i, step := range s.Steps {
		w.now = step.Now
		done := w.simulate("call", step.Call)
		if want := refusalMessage(t, step.Error, step.Arguments); done.Response.GetMessage() != want {
			t.Fatalf("step %d, %s: got %q, want %q", i, step.Function, done.Response.GetMessage(), want)
		}
		if step.Error != "" {
			requireNoWrites(t, done)
			continue
		}
		w.ledger.Commit(done)
		news := told(t, done)
		all.Events, all.Applied = append(all.Events, news.Events...), append(all.Applied, news.Applied...)
		all.Batches = append(all.Batches, news.Batches...)
		if len(all.Events) != step.Events {
			t.Fatalf("step %d, %s: %d events, want %d", i, step.Function, len(all.Events), step.Events)
		}
	}
	s.compare(t, w, all)
}

// world has the scenario's configuration and balances.
func (s scenario) world(t testing.TB) *world {
	w := emptyWorld(t)
	var lane wire.Lane
	c := state.Config{Channel: "caimi", Chaincode: "registry", ClockWindow: s.Config.ClockWindow}
	if wire.Decode(s.Config.Lane, wire.CallLimit, &lane) != nil || wire.Decode(s.Config.Genesis, wire.CallLimit, &c.Genesis) != nil {
		t.Fatal("the configuration does not decode")
	}
	c.Chain, c.MinDeposit = lane.Chain, number128(t, s.Config.MinDeposit)
	c.Limits = state.Limits{ResumeDelay: s.Config.ResumeDelay, WithdrawalCap: number128(t, s.Config.WithdrawalCap)}
	if wire.Decode(s.Config.Root, wire.CallLimit, &c.Root) != nil {
		t.Fatal("the root does not decode")
	}
	if c.Lane() != lane {
		t.Fatal("another lane")
	}
	w.accept("init", wire.EncodeFields(c))
	stub := ledgertest.NewStub(w.ledger, ledgertest.Proposal{})
	overlay := state.New(stub)
	for _, a := range s.Accounts {
		overlay.PutBalance(wire.Address(a.Address), decimal(t, a.Balance))
	}
	if err := overlay.Flush(); err != nil {
		t.Fatal(err)
	}
	given := stub.Transaction()
	given.Response = shim.Success(nil)
	w.ledger.Commit(given)
	return w
}

func (s scenario) compare(t *testing.T, w *world, all outbox) {
	for i, event := range all.Events {
		if leaf := leafOf(t, event, uint64(i+1)); leaf != s.Leaves[i].Word(t) {
			t.Errorf("event %d: leaf %s", i+1, leaf.Hex())
		}
	}
	if len(all.Applied) != len(s.Applied) || len(all.Events) != len(s.Leaves) {
		t.Fatalf("%d notes and %d events, want %d and %d", len(all.Applied), len(all.Events), len(s.Applied), len(s.Leaves))
	}
	for i, note := range all.Applied {
		if actual := [3]uint64{note.Sequence, uint64(note.Disposition), uint64(note.Code)}; actual != s.Applied[i] {
			t.Errorf("note %d: %v, want %v", i, actual, s.Applied[i])
		}
	}
	for _, p := range s.Publications {
		r := w.publication(p.ID.Word(t))
		actual := fmt.Sprintln(r.Role, r.State, r.Deposit.Big(), r.Awaited, r.Reason, r.Revoked == revocationKnown)
		if want := fmt.Sprintln(p.Role, p.State, p.Deposit, p.Awaited, p.Reason, p.Revoked); actual != want {
			t.Errorf("publication %x: %s, want %s", p.ID, actual, want)
		}
	}
	s.compareBrakes(t, w)
	s.compareBatches(t, w, all.Batches)
	s.compareEpochs(t, w)
	for _, account := range s.Balances {
		var n wire.Uint128
		if w.view("balance", &n, wire.Address(account.Address)); n.Big().String() != account.Balance {
			t.Errorf("balance of %x: %s, want %s", account.Address, n.Big(), account.Balance)
		}
	}
}

func (s scenario) compareBrakes(t *testing.T, w *world) {
	t.Helper()
	limits, brakes, withdrawn := w.brakes()
	actual := fmt.Sprintln(brakes.Paused == isOn, brakes.Counter, brakes.Since, withdrawn.Big(), limits.ResumeDelay)
	want := fmt.Sprintln(s.Brakes[0], uint64(s.Brakes[1].(float64)), uint64(s.Brakes[2].(float64)), s.Withdrawn, s.Config.ResumeDelay)
	if actual != want {
		t.Errorf("brakes %s, want %s", actual, want)
	}
	for _, g := range s.Governed {
		var lane wire.Lane
		if err := wire.Decode(g.Lane, wire.CallLimit, &lane); err != nil {
			t.Fatal(err)
		}
		last := w.governed(lane)
		want := state.GovernedLane{Version: g.Version, Generation: g.Generation, Height: g.Height, BlockHash: g.BlockHash.Word(t)}
		if g.Dropped {
			want.Dropped = isOn
		}
		if last != want {
			t.Errorf("governed %+v, want %+v", last, want)
		}
	}
}

// Without the list it is the first epoch, and no other is announced.
func (s scenario) compareEpochs(t *testing.T, w *world) {
	t.Helper()
	present, before, epochs := w.epochs()
	if s.Epochs == nil {
		want := state.EpochSigners{Epoch: 1, F: present.F, T: present.T, Validators: present.Validators}
		if !reflect.DeepEqual(present, want) || before.Epoch != 0 || epochs.Announced != 0 || !epochs.AnnouncedSet.IsZero() {
			t.Errorf("epochs %+v, %+v, %+v", present, before, epochs)
		}
		return
	}
	e := s.Epochs
	want := state.EpochSigners{
		Epoch: e.Present[0], F: uint8(e.Present[1]), T: uint8(e.Present[2]), SetHash: e.Set.Word(t),
		Transcript: e.Transcript.Word(t),
	}
	for _, account := range e.Validators {
		want.Validators = append(want.Validators, wire.Address(account))
	}
	if !reflect.DeepEqual(present, want) {
		t.Errorf("present %+v, want %+v", present, want)
	}
	if before.Epoch != e.Before || epochs.Announced != e.Announced || epochs.AnnouncedSet != e.AnnouncedSet.Word(t) {
		t.Errorf("before %+v, epochs %+v, want %+v", before, epochs, *e)
	}
	for _, a := range e.Acknowledged {
		var lane wire.Lane
		if err := wire.Decode(a.Lane, wire.CallLimit, &lane); err != nil {
			t.Fatal(err)
		}
		var entered uint64
		if w.view("acknowledged", &entered, lane); entered != a.Epoch {
			t.Errorf("acknowledged %d, want %d", entered, a.Epoch)
		}
	}
}

func (s scenario) compareBatches(t *testing.T, w *world, logged []batchNote) {
	t.Helper()
	for _, b := range s.Batches {
		var home wire.Lane
		if err := wire.Decode(b.Home, wire.CallLimit, &home); err != nil {
			t.Fatal(err)
		}
		seen := w.batch(home, b.Root.Word(t))
		actual := fmt.Sprintln(seen.Role, seen.State, seen.Count, new(big.Int).SetBytes(seen.Taken[:]),
			seen.Earliest, seen.Latest, seen.held.Big(), seen.Awaited, seen.Reason)
		want := fmt.Sprintln(b.Role, b.State, b.Count, b.Taken, b.Earliest, b.Latest, b.Deposits, b.Awaited, b.Reason)
		if actual != want {
			t.Errorf("batch %x: %s, want %s", b.Root, actual, want)
		}
	}
	if len(logged) != len(s.BatchIDs) {
		t.Fatalf("%d batches are logged, want %d", len(logged), len(s.BatchIDs))
	}
	for i, note := range logged {
		want := batchNote{Root: s.BatchIDs[i].Root.Word(t).Hex()}
		for _, id := range s.BatchIDs[i].IDs {
			want.IDs = append(want.IDs, id.Word(t).Hex())
		}
		if !reflect.DeepEqual(note, want) {
			t.Errorf("logged %+v, want %+v", note, want)
		}
	}
	for i, look := range s.States {
		var proof wire.BatchProof
		if err := wire.Decode(look.Proof, wire.CallLimit, &proof); err != nil {
			t.Fatal(err)
		}
		if look.Error != "" {
			w.refuse(refusalMessage(t, look.Error, look.Arguments), "view", encoded("stateIn", look.ID.Word(t), proof))
			continue
		}
		if actual, want := w.stateIn(look.ID.Word(t), proof), [2]uint8{look.Role, look.State}; actual != want {
			t.Errorf("look %d: %v, want %v", i, actual, want)
		}
	}
}

// leafOf rebuilds the event from what readers of the ledger see.
func leafOf(t *testing.T, note eventNote, sequence uint64) wire.Bytes32 {
	t.Helper()
	unhex := func(text string) []byte {
		data, err := hex.DecodeString(strings.TrimPrefix(text, "0x"))
		if err != nil {
			t.Fatal(err)
		}
		return data
	}
	event := wire.Event{Schema: note.Schema, Kind: note.Kind, Subject: wire.Bytes32(unhex(note.Subject)), Body: unhex(note.Body)}
	for _, d := range note.Destinations {
		event.Destinations = append(event.Destinations, wire.Lane{Chain: wire.Bytes32(unhex(d[0])), Registry: wire.Bytes32(unhex(d[1]))})
	}
	return wire.LeafHash(own, wire.Item{Sequence: sequence, Event: event})
}

// refusalMessage shows ABI-encoded arguments as the chaincode's message does.
func refusalMessage(t *testing.T, name string, arguments []byte) string {
	t.Helper()
	shown := []string{}
	for i := 0; i+32 <= len(arguments); i += 32 {
		word, kind := arguments[i:i+32], argumentKinds[name][i/32]
		switch kind {
		case "address":
			shown = append(shown, "0x"+hex.EncodeToString(word[12:]))
		case "bytes32":
			shown = append(shown, "0x"+hex.EncodeToString(word))
		default:
			shown = append(shown, new(big.Int).SetBytes(word).String())
		}
	}
	if len(shown) == 0 {
		return name
	}
	return name + ": " + strings.Join(shown, ", ")
}

// Types of the values of spec/errors.toml, where they are no numbers.
var argumentKinds = map[string][3]string{
	"WrongSigner": {"address", "address"}, "UnknownOperator": {"address"},
	"WrongRegistry": {"bytes32", "bytes32"}, "WrongRoot": {"bytes32", "bytes32"}, "NonceUsed": {"bytes32"},
	"UnknownPublication": {"bytes32"}, "UnknownRequest": {"bytes32"}, "UnknownBatch": {"bytes32"},
	"NotAcknowledged": {"bytes32"}, "UnknownSet": {"bytes32"}, "UnsupportedPolicy": {"bytes32"},
	"UnsupportedExtension": {"bytes32"},
}

func number128(t testing.TB, text string) wire.Uint128 {
	t.Helper()
	return wire.Uint128(decimal(t, text).FillBytes(make([]byte, 16)))
}

func decimal(t testing.TB, text string) *big.Int {
	t.Helper()
	n, ok := new(big.Int).SetString(text, 10)
	if !ok {
		t.Fatalf("%q is no number", text)
	}
	return n
}
