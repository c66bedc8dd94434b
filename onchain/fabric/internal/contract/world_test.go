package contract

import (
	"crypto/sha256"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/decred/dcrd/dcrec/secp256k1/v4"
	"github.com/decred/dcrd/dcrec/secp256k1/v4/ecdsa"
	"github.com/hyperledger/fabric-chaincode-go/v2/shim"

	"caimi.local/onchain/fabric/internal/ledgertest"
	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

const (
	start    = 1_800_000_000
	deadline = start + 600
	window   = 30
)

// A key is an account of the tests.
type key string

func (k key) secret() *secp256k1.PrivateKey {
	sum := sha256.Sum256([]byte("contract test " + string(k)))
	return secp256k1.PrivKeyFromBytes(sum[:])
}

func (k key) address() wire.Address {
	hash := wire.Keccak256(k.secret().PubKey().SerializeUncompressed()[1:])
	return wire.Address(hash[12:])
}

// sign gives r || s || v.
func (k key) sign(digest wire.Bytes32) []byte {
	compact := ecdsa.SignCompact(k.secret(), digest[:], false)
	return append(compact[1:], compact[0])
}

const (
	publisher key = "publisher"
	stranger  key = "stranger"
	consumer  key = "consumer"
	operator  key = "operator"
	host      key = "host"
	issuer    key = "issuer"
)

var validators = []key{"validator 0", "validator 1", "validator 2", "validator 3"}

func word(label string) wire.Bytes32 { return wire.Keccak256([]byte(label)) }

func amount(n uint64) wire.Uint128 {
	var u wire.Uint128
	for i := range 8 {
		u[15-i] = byte(n >> (8 * i))
	}
	return u
}

var (
	chain     = word("fabric:00112233445566778899aabbccddeeff")
	own       = wire.Lane{Chain: chain, Registry: wire.RegistryID("caimi", "registry")}
	other     = wire.Lane{Chain: word("eip155:31337"), Registry: word("other")}
	elsewhere = wire.Lane{Chain: word("eip155:1"), Registry: word("elsewhere")}
	genesis   = wire.Genesis{
		RootGenesis: word("root"), Validators: addresses(validators...), F: 1, T: 2,
		Operators: addresses(operator), Nonce: word("genesis"),
	}
	network = wire.NetworkID(genesis)
	config  = state.Config{
		Genesis: genesis, MinDeposit: amount(100), ClockWindow: window,
		Channel: "caimi", Chaincode: "registry", TokenIssuer: issuer.address(), Chain: chain,
	}
)

func addresses(keys ...key) []wire.Address {
	list := make([]wire.Address, len(keys))
	for i, k := range keys {
		list[i] = k.address()
	}
	return list
}

// A world is one registry on a ledger in memory and its clock.
type world struct {
	t         testing.TB
	ledger    *ledgertest.Ledger
	now       int64
	clock     int64 // the endorser's; 0 for `now`
	transient map[string][]byte
	invoked   string
	carried   uint64 // sequence numbers given by next
}

// next gives a sequence number that no other event of this world has.
func (w *world) next() uint64 {
	w.carried++
	return w.carried
}

func emptyWorld(t testing.TB) *world {
	return &world{t: t, ledger: ledgertest.New("caimi", "registry"), now: start}
}

// newWorld is initialised, and the publisher has a balance of 1,000.
func newWorld(t *testing.T) *world {
	w := emptyWorld(t)
	w.accept("init", wire.EncodeFields(config))
	w.fundAccount(publisher, 1000)
	return w
}

func (w *world) chaincode() *Chaincode {
	clock := w.clock
	if clock == 0 {
		clock = w.now
	}
	return &Chaincode{Clock: func() time.Time { return time.Unix(clock, 0) }}
}

func (w *world) simulate(function string, argument []byte) *ledgertest.Transaction {
	return w.ledger.Simulate(w.chaincode(), ledgertest.Proposal{
		Function: function, Argument: argument, Timestamp: time.Unix(w.now, 0),
		Transient: w.transient, Invoked: w.invoked,
	})
}

// accept commits an invocation that has to succeed.
func (w *world) accept(function string, argument []byte) *ledgertest.Transaction {
	w.t.Helper()
	done := w.simulate(function, argument)
	if done.Response.GetStatus() != shim.OK {
		w.t.Fatalf("%s: %s", function, done.Response.GetMessage())
	}
	if !w.ledger.Commit(done)[0] {
		w.t.Fatalf("%s is not VALID alone in its block", function)
	}
	return done
}

// refuse wants the message, or only its name, and nothing written.
func (w *world) refuse(want, function string, argument []byte) {
	w.t.Helper()
	done := w.simulate(function, argument)
	message := done.Response.GetMessage()
	name, _, _ := strings.Cut(message, ":")
	if done.Response.GetStatus() == shim.OK || (message != want && name != want) {
		w.t.Errorf("%s: got %d %q, want %q", function, done.Response.GetStatus(), message, want)
	}
	requireNoWrites(w.t, done)
}

func requireNoWrites(t testing.TB, done *ledgertest.Transaction) {
	t.Helper()
	if done.Wrote() {
		t.Errorf("written: %q, private %q, event %s", done.Writes, done.Private, done.Told())
	}
}

// encoded is selector and arguments.
func encoded(name string, arguments ...any) []byte {
	selector := wire.Selector(name, arguments...)
	return append(selector[:], wire.Encode(arguments...)...)
}

func (w *world) call(name string, arguments ...any) *ledgertest.Transaction {
	w.t.Helper()
	return w.accept("call", encoded(name, arguments...))
}

func (w *world) refuseCall(want, name string, arguments ...any) {
	w.t.Helper()
	w.refuse(want, "call", encoded(name, arguments...))
}

// repeat wants a call to succeed and to do nothing.
func (w *world) repeat(name string, arguments ...any) {
	w.t.Helper()
	requireNoWrites(w.t, w.call(name, arguments...))
}

func (w *world) view(name string, into any, arguments ...any) {
	w.t.Helper()
	done := w.simulate("view", encoded(name, arguments...))
	requireNoWrites(w.t, done)
	if done.Response.GetStatus() != shim.OK {
		w.t.Fatalf("%s: %s", name, done.Response.GetMessage())
	}
	if err := wire.Decode(done.Response.GetPayload(), wire.CallLimit, into); err != nil {
		w.t.Fatalf("%s: %v", name, err)
	}
}

func (w *world) publication(id wire.Bytes32) state.Publication {
	w.t.Helper()
	done := w.simulate("view", encoded("publication", id))
	var p state.Publication
	fields := []any{
		&p.Role, &p.State, &p.Publisher, &p.Name, &p.Version, &p.Home, &p.Mirrors, &p.Deposit, &p.Deadline, &p.Awaited, &p.Reason,
	}
	if err := wire.Decode(done.Response.GetPayload(), wire.CallLimit, fields...); err != nil {
		w.t.Fatalf("publication: %s, %v", done.Response.GetMessage(), err)
	}
	w.view("isRevoked", &p.Revoked, id)
	return p
}

func (w *world) brakes() (limits state.Limits, brakes state.Brakes, withdrawn wire.Uint128) {
	w.t.Helper()
	done := w.simulate("view", encoded("brakes"))
	err := wire.Decode(done.Response.GetPayload(), wire.CallLimit,
		&brakes.Paused, &brakes.Counter, &brakes.Since, &limits.ResumeDelay, &limits.WithdrawalCap, &withdrawn)
	if err != nil {
		w.t.Fatalf("brakes: %s, %v", done.Response.GetMessage(), err)
	}
	return limits, brakes, withdrawn
}

func (w *world) governed(lane wire.Lane) state.GovernedLane {
	w.t.Helper()
	done := w.simulate("view", encoded("governed", lane))
	var last state.GovernedLane
	if err := wire.DecodeFields(done.Response.GetPayload(), wire.CallLimit, &last); err != nil {
		w.t.Fatalf("governed: %s, %v", done.Response.GetMessage(), err)
	}
	return last
}

func (w *world) balance(k key) uint64 { return w.number("balance", k) }
func (w *world) tokens(k key) uint64  { return w.number("tokens", k) }

func (w *world) number(view string, k key) uint64 {
	w.t.Helper()
	var n wire.Uint128
	w.view(view, &n, k.address())
	return n.Big().Uint64()
}

// fundAccount mints and funds by signed calls.
func (w *world) fundAccount(k key, n uint64) {
	w.t.Helper()
	mint := wire.Mint{At: own, Account: k.address(), Amount: amount(n), Nonce: word("mint " + string(k)), Deadline: deadline}
	w.call("mint", mint, issuer.sign(digestOf(mint)))
	fund := wire.Funding{At: own, Account: k.address(), Amount: amount(n), Nonce: word("fund " + string(k)), Deadline: deadline}
	w.call("fund", fund, k.sign(digestOf(fund)))
}

func digestOf(record any) wire.Bytes32 { return wire.TypedDigest(network, record) }

func homePublication() wire.Publication {
	return wire.Publication{
		Format: 1, Kind: 1, Publisher: publisher.address(), Name: "digits", Version: 1,
		Ciphertext:  wire.Cid{Codec: codecDagPb, Digest: word("ciphertext")},
		CapsuleHash: word("capsule"), ManifestCommitment: word("manifest"), PolicyHash: wire.PolicyOpen,
		Home: own, Mirrors: []wire.Lane{other}, Deposit: amount(100), Nonce: word("nonce"), Deadline: deadline,
	}
}

func mirrorPublication() wire.Publication {
	p := homePublication()
	p.Home, p.Mirrors = other, []wire.Lane{own}
	return p
}

// lock sends a publication signed by its publisher and gives its id.
func (w *world) lock(p wire.Publication) wire.Bytes32 {
	w.t.Helper()
	w.call("lockModel", p, publisher.sign(digestOf(p)))
	return digestOf(p)
}

// A certifiedRun is what applyRun takes.
type certifiedRun struct {
	certificate wire.Certificate
	items       []wire.Item
	proof       []wire.Bytes32
}

func certify(checkpoint wire.Checkpoint, signers ...int) wire.Certificate {
	signed := wire.Certificate{Checkpoint: checkpoint}
	for _, i := range signers {
		s := validators[i].sign(digestOf(checkpoint))
		signed.Signatures = append(signed.Signatures, wire.Signature{
			Signer: uint8(i), V: s[64], R: wire.Bytes32(s[:32]), S: wire.Bytes32(s[32:64]),
		})
	}
	return signed
}

// runOf certifies all events of a range that begins at `first`.
func runOf(source wire.Lane, first uint64, events ...wire.Event) certifiedRun {
	run := certifiedRun{}
	var leaves []wire.Bytes32
	var indices []uint64
	for i, event := range events {
		item := wire.Item{Sequence: first + uint64(i), Event: event}
		run.items = append(run.items, item)
		leaves, indices = append(leaves, wire.LeafHash(source, item)), append(indices, uint64(i))
	}
	root, err := wire.MultiproofRoot(uint64(len(leaves)), indices, leaves, nil)
	if err != nil {
		panic(err)
	}
	run.certificate = certify(wire.Checkpoint{
		Source: source, Generation: 1, Epoch: 1, FirstSequence: first, LastSequence: first + uint64(len(events)) - 1,
		Root: root, Height: 7, BlockHash: word("block"),
	}, 0, 1, 2)
	run.proof = []wire.Bytes32{}
	return run
}

// carry applies events of a lane and gives the notes.
func (w *world) carry(source wire.Lane, first uint64, events ...wire.Event) []appliedNote {
	w.t.Helper()
	run := runOf(source, first, events...)
	return told(w.t, w.call("applyRun", run.certificate, run.items, run.proof)).Applied
}

func told(t testing.TB, done *ledgertest.Transaction) outbox {
	t.Helper()
	var out outbox
	if done.Told() == nil {
		return out
	}
	if err := json.Unmarshal(done.Told(), &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func eventTo(destination wire.Lane, kind uint16, subject wire.Bytes32, body any) wire.Event {
	return wire.Event{
		Schema: 1, Kind: kind, Destinations: []wire.Lane{destination}, Subject: subject, Body: wire.Encode(body),
	}
}

func lockedBy(id wire.Bytes32) wire.Event {
	return eventTo(own, wire.KindLocked, id, wire.LockedBody{Role: roleMirror, Home: own})
}

func refusedBy(id wire.Bytes32) wire.Event {
	return eventTo(own, wire.KindRefused, id, wire.RefusedBody{Code: 404, Home: own})
}

func outcomeOf(id wire.Bytes32, outcome uint8) wire.Event {
	return eventTo(own, wire.KindOutcome, id, wire.OutcomeBody{State: outcome})
}

func supersededBy(id wire.Bytes32, version uint64) wire.Event {
	return eventTo(own, wire.KindSuperseded, id, wire.SupersededBody{ByVersion: version})
}
