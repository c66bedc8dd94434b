package contract

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/hyperledger/fabric-chaincode-go/v2/shim"
	"github.com/hyperledger/fabric-protos-go-apiv2/peer"
	"google.golang.org/protobuf/types/known/timestamppb"

	"caimi.local/onchain/fabric/internal/ledgertest"
	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

func TestRejectsEverythingBeforeInit(t *testing.T) {
	w := emptyWorld(t)
	w.refuseCall("NotInitialised", "abort", word("id"))
	w.refuse("NotInitialised", "view", encoded("version"))
	w.refuse("NotInitialised", "nonsense", nil)
}

func TestRejectsSecondInit(t *testing.T) {
	newWorld(t).refuse("AlreadyInitialised", "init", wire.EncodeFields(config))
}

func TestRejectsUnlawfulConfiguration(t *testing.T) {
	five := append(addresses(validators...), stranger.address())
	zero := wire.Address{}
	for want, change := range map[string]func(*state.Config){
		"BadQuorum: 3, 1, 2":  func(c *state.Config) { c.Genesis.Validators = c.Genesis.Validators[:3] },
		"BadQuorum: 4, 0, 2":  func(c *state.Config) { c.Genesis.F = 0 },
		"BadQuorum: 4, 2, 2":  func(c *state.Config) { c.Genesis.F = 2 },
		"BadQuorum: 4, 1, 1":  func(c *state.Config) { c.Genesis.T = 1 },
		"BadQuorum: 5, 1, 5":  func(c *state.Config) { c.Genesis.Validators, c.Genesis.T = five, 5 },
		"BadQuorum: 65, 1, 2": func(c *state.Config) { c.Genesis.Validators = make([]wire.Address, 65) },
		"ZeroAmount":          func(c *state.Config) { c.MinDeposit = amount(0) },
		"OutOfRange: 32, 4294967296": func(c *state.Config) {
			c.ClockWindow = 1 << 32
		},
	} {
		changed := config
		change(&changed)
		emptyWorld(t).refuse(want, "init", wire.EncodeFields(changed))
	}
	for name, change := range map[string]func(*wire.Genesis){
		"a validator twice": func(g *wire.Genesis) { g.Validators = addresses("a", "b", "c", "a") },
		"a zero validator":  func(g *wire.Genesis) { g.Validators = append(addresses("a", "b", "c"), zero) },
		"no operator":       func(g *wire.Genesis) { g.Operators = nil },
		"an operator twice": func(g *wire.Genesis) { g.Operators = addresses("a", "a") },
		"a zero operator":   func(g *wire.Genesis) { g.Operators = []wire.Address{zero} },
	} {
		t.Run(name, func(t *testing.T) {
			changed := config
			change(&changed.Genesis)
			emptyWorld(t).refuse("BadValidatorSet", "init", wire.EncodeFields(changed))
		})
	}
}

func TestRejectsInitUnderAnotherName(t *testing.T) {
	w := emptyWorld(t)
	for _, change := range []func(*state.Config){
		func(c *state.Config) { c.Channel = "another" },
		func(c *state.Config) { c.Chaincode = "another" },
		func(c *state.Config) { c.Channel, c.Chaincode = "caimi/registry", "" },
	} {
		changed := config
		change(&changed)
		w.refuse("WrongRegistry", "init", wire.EncodeFields(changed))
	}
	w.invoked = "another"
	w.refuse("WrongRegistry", "init", wire.EncodeFields(config))
}

func TestRejectsMalformedInit(t *testing.T) {
	good := wire.EncodeFields(config)
	for _, data := range [][]byte{nil, good[:len(good)-32], append(good, make([]byte, 32)...)} {
		emptyWorld(t).refuse("BadEncoding", "init", data)
	}
}

func TestRejectsClocksApart(t *testing.T) {
	w := newWorld(t)
	p := homePublication()
	for _, skew := range []int64{-window - 1, window + 1, 86_400} {
		w.clock = w.now + skew
		w.refuseCall("ClockSkew", "lockModel", p, publisher.sign(digestOf(p)))
	}
	w.clock = w.now + window
	w.lock(p)
	empty := emptyWorld(t)
	empty.clock = start + window + 1
	empty.refuse("ClockSkew: 1800000000, 1800000031", "init", wire.EncodeFields(config))
}

// A post-dated abort and a back-dated commit beyond the window are refused: the clock of the endorser is true.
func TestRejectsFalseTimesAroundTheDeadline(t *testing.T) {
	w := newWorld(t)
	id := w.lock(homePublication())
	w.now, w.clock = deadline+1, deadline-window
	w.refuseCall("ClockSkew", "abort", id)
	run := runOf(other, 1, lockedBy(id))
	w.now, w.clock = deadline, deadline+window+1
	w.refuseCall("ClockSkew", "applyRun", run.certificate, run.items, run.proof)
}

func TestRejectsCallsThroughAnotherChaincode(t *testing.T) {
	w := newWorld(t)
	p := homePublication()
	w.invoked = "another"
	w.refuseCall("ForbiddenCaller", "lockModel", p, publisher.sign(digestOf(p)))
}

func TestRejectsWhatIsNoCall(t *testing.T) {
	w := newWorld(t)
	for _, data := range [][]byte{nil, {1, 2, 3}, {1, 2, 3, 4}, encoded("fundWithPermit", wire.Address{})} {
		w.refuse("UnknownFunction", "call", data)
		w.refuse("UnknownFunction", "view", data)
	}
	w.refuse("UnknownFunction", "nonsense", encoded("version"))
	w.refuse("UnknownFunction", "call", encoded("version"))
	w.refuse("UnknownFunction", "view", encoded("abort", word("id")))
	w.refuse("BadEncoding", "call", append(encoded("abort", word("id")), 0))
	w.refuse("BadEncoding", "call", encoded("abort", word("id"))[:35])
	w.refuse("BadEncoding", "view", append(encoded("version"), make([]byte, 32)...))
}

func TestEveryFunctionRejectsOtherEncodings(t *testing.T) {
	w := newWorld(t)
	signature, key := []byte{1}, wire.HostKey{}
	functions := map[string][]any{
		"lockModel": {wire.Publication{}, signature}, "applyRun": {wire.Certificate{}, []wire.Item{}, []wire.Bytes32{}},
		"abort": {word("id")}, "abortUnlocked": {wire.Publication{}, signature}, "withdraw": {wire.Withdrawal{}, signature},
		"revoke": {wire.Revocation{}, signature}, "pause": {wire.Pause{}, []wire.Signature{}}, "resume": {wire.Resume{}, []wire.Signature{}}, "govern": {wire.Governance{}, []wire.Signature{}},
		"fund": {wire.Funding{}, signature}, "mint": {wire.Mint{}, signature},
		"requestInference": {wire.InferenceRequest{}, signature},
		"answerInference":  {wire.Answer{}, signature, key, signature},
		"openLease":        {wire.LeaseRequest{}, signature, key, signature},
		"postPartial":      {wire.PartialPost{}, signature}, "postBoard": {wire.BoardPost{}, signature, signature},
		"lockBatch": {[]wire.Publication{}, [][]byte{signature}}, "answerBatch": {own, word("root")},
		"abortBatch": {word("root")}, "takeOut": {wire.Publication{}, signature, wire.BatchProof{}},
		"multicall": {[][]byte{{1}}},
		"changeSet": {wire.SetChange{}, []wire.Signature{}, []wire.Signature{}}, "enterSet": {wire.EpochSet{}}, "retireSet": nil,
		"proposeSet": {wire.SetProposal{}, []wire.Signature{}},
	}
	reads := map[string][]any{
		"version": nil, "network": nil, "lane": nil, "validatorSet": nil, "minDeposit": nil, "clockWindow": nil,
		"publication": {word("id")}, "isRevoked": {word("id")}, "brakes": nil, "root": nil, "governed": {own}, "leaseCap": nil, "balance": {wire.Address{}}, "tokens": {wire.Address{}}, "receiptOf": {word("id")},
		"isMarked": {own, uint64(1), uint64(1)}, "lease": {word("id")}, "partials": {word("id")}, "batch": {own, word("root")}, "stateIn": {word("id"), wire.BatchProof{}}, "board": {uint64(1), uint8(1)},
		"validatorSetOf": {uint64(1)}, "epochs": nil, "acknowledged": {own},
	}
	if len(functions) != len(calls) || len(reads) != len(views) {
		t.Fatalf("%d functions of %d, %d views of %d", len(functions), len(calls), len(reads), len(views))
	}
	for function, list := range map[string]map[string][]any{"call": functions, "view": reads} {
		for name, arguments := range list {
			good := encoded(name, arguments...)
			w.refuse("BadEncoding", function, append(good, make([]byte, 32)...))
			if len(good) > selectorSize {
				w.refuse("BadEncoding", function, good[:len(good)-1])
			}
		}
	}
}

func TestRejectsOtherCountsOfArguments(t *testing.T) {
	stub := &countedStub{Stub: ledgertest.NewStub(ledgertest.New("caimi", "registry"), ledgertest.Proposal{})}
	for _, stub.arguments = range [][][]byte{nil, {[]byte("view")}, {[]byte("view"), nil, nil}} {
		if answer := (&Chaincode{Clock: time.Now}).Invoke(stub); answer.GetMessage() != "UnknownFunction" {
			t.Errorf("%d arguments: %q", len(stub.arguments), answer.GetMessage())
		}
	}
}

type countedStub struct {
	*ledgertest.Stub
	arguments [][]byte
}

func (s *countedStub) GetArgs() [][]byte { return s.arguments }

// A peer that fails is no refusal: the client must not believe what was decided upon nothing.
func TestFailuresOfThePeerDecideNothing(t *testing.T) {
	p := homePublication()
	lock := ledgertest.Proposal{
		Function: "call", Argument: encoded("lockModel", p, publisher.sign(digestOf(p))), Timestamp: time.Unix(start, 0),
	}
	create := ledgertest.Proposal{Function: "init", Argument: wire.EncodeFields(config), Timestamp: time.Unix(start, 0)}
	for name, c := range map[string]struct {
		proposal ledgertest.Proposal
		failure  failingStub
	}{
		"the first read":               {lock, failingStub{reads: 1}},
		"the second read":              {lock, failingStub{reads: 2}},
		"a later read":                 {lock, failingStub{reads: 5}},
		"proposal of a call":           {lock, failingStub{proposal: true}},
		"proposal of init":             {create, failingStub{proposal: true}},
		"unreadable proposal":          {lock, failingStub{garbage: true}},
		"timestamp":                    {lock, failingStub{timestamp: true}},
		"timestamp of init":            {create, failingStub{timestamp: true}},
		"transient data":               {lock, failingStub{transient: true}},
		"a write":                      {lock, failingStub{write: true}},
		"the end of the batch":         {lock, failingStub{batch: true}},
		"the end of the batch of init": {create, failingStub{batch: true}},
	} {
		t.Run(name, func(t *testing.T) {
			w := emptyWorld(t)
			if c.proposal.Function == "call" {
				w = newWorld(t)
			}
			stub := c.failure
			stub.Stub = ledgertest.NewStub(w.ledger, c.proposal)
			answer := w.chaincode().Invoke(&stub)
			if answer.GetStatus() == shim.OK || !strings.HasPrefix(answer.GetMessage(), "ledger: ") {
				t.Errorf("%d %q", answer.GetStatus(), answer.GetMessage())
			}
			if n := len(stub.Transaction().Events); n != 0 {
				t.Errorf("%d events", n)
			}
		})
	}
}

var errLost = errors.New("connection lost")

type failingStub struct {
	*ledgertest.Stub
	reads                                                 int // the read that fails, from 1
	proposal, garbage, timestamp, transient, write, batch bool
}

func (s *failingStub) GetState(key string) ([]byte, error) {
	if s.reads--; s.reads == 0 {
		return nil, errLost
	}
	return s.Stub.GetState(key)
}

func (s *failingStub) GetSignedProposal() (*peer.SignedProposal, error) {
	if s.proposal {
		return nil, errLost
	}
	if s.garbage {
		return &peer.SignedProposal{ProposalBytes: []byte{0xff}}, nil
	}
	return s.Stub.GetSignedProposal()
}

func (s *failingStub) GetTxTimestamp() (*timestamppb.Timestamp, error) {
	if s.timestamp {
		return nil, errLost
	}
	return s.Stub.GetTxTimestamp()
}

func (s *failingStub) GetTransient() (map[string][]byte, error) {
	if s.transient {
		return nil, errLost
	}
	return s.Stub.GetTransient()
}

func (s *failingStub) PutState(key string, value []byte) error {
	if s.write {
		return errLost
	}
	return s.Stub.PutState(key, value)
}

func (s *failingStub) FinishWriteBatch() error {
	if s.batch {
		return errLost
	}
	return s.Stub.FinishWriteBatch()
}

func TestOneEventOrNone(t *testing.T) {
	w := newWorld(t)
	p := homePublication()
	done := w.call("lockModel", p, publisher.sign(digestOf(p)))
	if len(done.Events) != 1 || done.Events[0].Name != "caimi" {
		t.Errorf("%+v", done.Events)
	}
	m := mintOf(1)
	if done := w.call("mint", m, issuer.sign(digestOf(m))); len(done.Events) != 0 || len(done.Writes) == 0 {
		t.Errorf("a mint tells %+v", done.Events)
	}
}

func TestViewsOfAnEmptyRegistry(t *testing.T) {
	w := newWorld(t)
	var version uint16
	if w.view("version", &version); version != 1 {
		t.Errorf("version %d", version)
	}
	var id wire.Bytes32
	if w.view("network", &id); id != network {
		t.Errorf("network %s", id.Hex())
	}
	var lane wire.Lane
	if w.view("lane", &lane); lane != own {
		t.Errorf("lane %v", lane)
	}
	var deposit wire.Uint128
	if w.view("minDeposit", &deposit); deposit != amount(100) {
		t.Errorf("minDeposit %s", deposit.Big())
	}
	var seconds uint64
	if w.view("clockWindow", &seconds); seconds != window {
		t.Errorf("clockWindow %d", seconds)
	}
	answer := w.simulate("view", encoded("validatorSet")).Response.GetPayload()
	var epoch uint64
	var f, threshold uint8
	var set []wire.Address
	if err := wire.Decode(answer, wire.CallLimit, &epoch, &f, &threshold, &set); err != nil {
		t.Fatal(err)
	}
	if epoch != 1 || f != 1 || threshold != 2 || len(set) != 4 || set[3] != validators[3].address() {
		t.Errorf("validatorSet %d %d %d %v", epoch, f, threshold, set)
	}
	if record := w.publication(word("nothing")); record.Role != 0 || record.Name != "" || record.Mirrors == nil {
		t.Errorf("unknown publication %+v", record)
	}
	var lease wire.LeaseRequest
	if w.view("lease", &lease, word("nothing")); lease != (wire.LeaseRequest{}) {
		t.Errorf("unknown lease %+v", lease)
	}
}
