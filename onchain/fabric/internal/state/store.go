package state

import (
	"encoding/hex"
	"fmt"
	"math/big"
	"strconv"

	"caimi.local/onchain/fabric/internal/wire"
)

// Every key belongs to one account, publication, request, lease or carried event, so that unrelated calls never write a
// key that another reads: Fabric refuses a transaction whose reads have changed. Only init writes configKey, and only
// pause and resume brakesKey; what governance decides about a lane is read by every run of it. withdrawnKey is the exception:
// all withdrawals of an epoch read and write it where there is a cap, so that one of them is VALID in a block and the others
// are sent again. What shares a batch's key: see batches.go.
const (
	configKey = "config"
	brakesKey = "brakes"
)

// key joins a kind of keys and what tells one from another, which are 32 bytes or 20 in hexadecimal, or end the key.
func key(kind string, parts ...[]byte) string {
	text := make([]byte, 0, 192)
	text = append(text, kind...)
	for _, part := range parts {
		text = hex.AppendEncode(append(text, '/'), part)
	}
	return string(text)
}

func numbered(prefix string, numbers ...uint64) string {
	for _, n := range numbers {
		prefix += "/" + strconv.FormatUint(n, 10)
	}
	return prefix
}

func laneHash(lane wire.Lane) []byte {
	hash := wire.LaneHash(lane)
	return hash[:]
}

func laneKey(lane wire.Lane) string { return key("lane", laneHash(lane)) }

func withdrawnKey(epoch uint64) string { return numbered("withdrawn", epoch) }

func leasesKey(epoch uint64, publication wire.Bytes32, operator wire.Address) string {
	return key(numbered("leases", epoch), publication[:], operator[:])
}

func publicationKey(id wire.Bytes32) string { return key("publication", id[:]) }

func answerKey(id wire.Bytes32, mirror wire.Lane) string {
	return key("answer", id[:], laneHash(mirror))
}

func outcomeKey(id wire.Bytes32, home wire.Lane) string { return key("outcome", id[:], laneHash(home)) }

func revocationKey(id wire.Bytes32, source wire.Lane) string {
	return key("revocation", id[:], laneHash(source))
}

func markKey(source wire.Bytes32, generation, sequence uint64) string {
	return numbered(key("mark", source[:]), generation, sequence)
}

func nonceKey(account wire.Address, nonce wire.Bytes32) string {
	return key("nonce", account[:], nonce[:])
}

// A name on a ledger is one of spec 30 §4, so that it needs no escape.
func takenKey(publisher wire.Address, name string, version uint64) string {
	return numbered(key("name", publisher[:])+"/"+name, version)
}

func latestKey(publisher wire.Address, name string) string {
	return key("latest", publisher[:]) + "/" + name
}

func balanceKey(account wire.Address) string { return key("balance", account[:]) }
func tokensKey(account wire.Address) string  { return key("tokens", account[:]) }
func requestKey(id wire.Bytes32) string      { return key("request", id[:]) }
func receiptKey(id wire.Bytes32) string      { return key("receipt", id[:]) }
func leaseKey(id wire.Bytes32) string        { return key("lease", id[:]) }

func partialKey(lease wire.Bytes32, index uint8) string {
	return numbered(key("partial", lease[:]), uint64(index))
}

func postKey(epoch uint64, phase, index uint8) string {
	return numbered("post", epoch, uint64(phase), uint64(index))
}

// Config gives the configuration, if init was called.
func (o *Overlay) Config() (Config, bool) { return load[Config](o, configKey) }

// PutConfig stores it.
func (o *Overlay) PutConfig(config Config) { store(o, configKey, config) }

// Governed is what governance decided last about a lane: generation 1 if it never did.
func (o *Overlay) Governed(lane wire.Lane) GovernedLane {
	governed, ok := load[GovernedLane](o, laneKey(lane))
	if !ok {
		governed.Generation = 1
	}
	return governed
}

// PutGoverned stores it.
func (o *Overlay) PutGoverned(lane wire.Lane, governed GovernedLane) {
	store(o, laneKey(lane), governed)
}

// Brakes give the last pause or resumption, zero before the first.
func (o *Overlay) Brakes() Brakes {
	brakes, _ := load[Brakes](o, brakesKey)
	return brakes
}

// PutBrakes stores it.
func (o *Overlay) PutBrakes(brakes Brakes) { store(o, brakesKey, brakes) }

// Withdrawn is what was withdrawn in an epoch, as far as there is a cap.
func (o *Overlay) Withdrawn(epoch uint64) *big.Int { return o.amount(withdrawnKey(epoch)) }

// PutWithdrawn stores it.
func (o *Overlay) PutWithdrawn(epoch uint64, n *big.Int) { o.putAmount(withdrawnKey(epoch), n) }

// Leases is how many leases an operator opened for a publication in an epoch, as far as there is a cap.
func (o *Overlay) Leases(epoch uint64, publication wire.Bytes32, operator wire.Address) uint64 {
	count, _ := load[uint64](o, leasesKey(epoch, publication, operator))
	return count
}

// PutLeases stores it.
func (o *Overlay) PutLeases(epoch uint64, publication wire.Bytes32, operator wire.Address, count uint64) {
	store(o, leasesKey(epoch, publication, operator), count)
}

// Publication gives a record.
func (o *Overlay) Publication(id wire.Bytes32) (Publication, bool) {
	return load[Publication](o, publicationKey(id))
}

// PutPublication stores it.
func (o *Overlay) PutPublication(id wire.Bytes32, record Publication) {
	store(o, publicationKey(id), record)
}

// Answer is a mirror's only answer to home, a publication state; 0 if there is none.
func (o *Overlay) Answer(id wire.Bytes32, mirror wire.Lane) uint8 {
	state, _ := load[uint8](o, answerKey(id, mirror))
	return state
}

// PutAnswer stores it.
func (o *Overlay) PutAnswer(id wire.Bytes32, mirror wire.Lane, state uint8) {
	store(o, answerKey(id, mirror), state)
}

// EarlyOutcome is home's outcome that came before this mirror's lock; 0 if there is none.
func (o *Overlay) EarlyOutcome(id wire.Bytes32, home wire.Lane) uint8 {
	state, _ := load[uint8](o, outcomeKey(id, home))
	return state
}

// PutEarlyOutcome stores it; 0 when the lock has met it.
func (o *Overlay) PutEarlyOutcome(id wire.Bytes32, home wire.Lane, state uint8) {
	store(o, outcomeKey(id, home), state)
}

// IsRevokedEarly tells whether a registry told of the publisher's revocation before the lock here.
func (o *Overlay) IsRevokedEarly(id wire.Bytes32, source wire.Lane) bool {
	return len(o.get(revocationKey(id, source))) != 0
}

// RevokeEarly notes it.
func (o *Overlay) RevokeEarly(id wire.Bytes32, source wire.Lane) {
	o.put(revocationKey(id, source), []byte{1})
}

// PrefetchLock reads what registries may have told of a publication before its lock here.
func (o *Overlay) PrefetchLock(id wire.Bytes32, home wire.Lane, mirrors []wire.Lane) {
	keys := []string{outcomeKey(id, home), revocationKey(id, home)}
	for _, mirror := range mirrors {
		keys = append(keys, answerKey(id, mirror), revocationKey(id, mirror))
	}
	o.Prefetch(keys)
}

// IsMarked tells whether a carried event was met before.
func (o *Overlay) IsMarked(source wire.Bytes32, generation, sequence uint64) bool {
	return len(o.get(markKey(source, generation, sequence))) != 0
}

// Mark notes that it is met.
func (o *Overlay) Mark(source wire.Bytes32, generation, sequence uint64) {
	o.put(markKey(source, generation, sequence), []byte{1})
}

// NonceUse gives the digest of the action that used a nonce.
func (o *Overlay) NonceUse(account wire.Address, nonce wire.Bytes32) (wire.Bytes32, bool) {
	return load[wire.Bytes32](o, nonceKey(account, nonce))
}

// UseNonce stores it.
func (o *Overlay) UseNonce(account wire.Address, nonce, digest wire.Bytes32) {
	store(o, nonceKey(account, nonce), digest)
}

// IsTaken tells whether the publisher has locked this name and version here as home.
func (o *Overlay) IsTaken(publisher wire.Address, name string, version uint64) bool {
	return len(o.get(takenKey(publisher, name, version))) != 0
}

// Take notes it.
func (o *Overlay) Take(publisher wire.Address, name string, version uint64) {
	o.put(takenKey(publisher, name, version), []byte{1})
}

// Latest is the highest committed version of a publisher's name.
func (o *Overlay) Latest(publisher wire.Address, name string) (wire.Bytes32, bool) {
	return load[wire.Bytes32](o, latestKey(publisher, name))
}

// PutLatest stores it.
func (o *Overlay) PutLatest(publisher wire.Address, name string, id wire.Bytes32) {
	store(o, latestKey(publisher, name), id)
}

// Balance is an account's registry balance. Stored amounts have 256 bits, so that giving back a
// deposit of 128 cannot fail.
func (o *Overlay) Balance(account wire.Address) *big.Int { return o.amount(balanceKey(account)) }

// PutBalance stores it.
func (o *Overlay) PutBalance(account wire.Address, n *big.Int) { o.putAmount(balanceKey(account), n) }

// Tokens is an account's holding on the token ledger.
func (o *Overlay) Tokens(account wire.Address) *big.Int { return o.amount(tokensKey(account)) }

// PutTokens stores it.
func (o *Overlay) PutTokens(account wire.Address, n *big.Int) { o.putAmount(tokensKey(account), n) }

func (o *Overlay) amount(key string) *big.Int { return new(big.Int).SetBytes(o.get(key)) }

func (o *Overlay) putAmount(key string, n *big.Int) { o.put(key, n.FillBytes(make([]byte, 32))) }

// Request gives an inference request made here.
func (o *Overlay) Request(id wire.Bytes32) (Request, bool) { return load[Request](o, requestKey(id)) }

// PutRequest stores it.
func (o *Overlay) PutRequest(id wire.Bytes32, request Request) { store(o, requestKey(id), request) }

// CarriedReceipt is, at home, the receipt hash of a request that a mirror answered.
func (o *Overlay) CarriedReceipt(request wire.Bytes32) (wire.Bytes32, bool) {
	return load[wire.Bytes32](o, receiptKey(request))
}

// PutCarriedReceipt stores it.
func (o *Overlay) PutCarriedReceipt(request, hash wire.Bytes32) { store(o, receiptKey(request), hash) }

// Lease gives a lease of the board.
func (o *Overlay) Lease(id wire.Bytes32) (wire.LeaseRequest, bool) {
	return load[wire.LeaseRequest](o, leaseKey(id))
}

// PutLease stores it.
func (o *Overlay) PutLease(id wire.Bytes32, lease wire.LeaseRequest) { store(o, leaseKey(id), lease) }

// PartialHash is the public hash of a posted partial; it outlives the private value.
func (o *Overlay) PartialHash(lease wire.Bytes32, index uint8) (wire.Bytes32, bool) {
	return load[wire.Bytes32](o, partialKey(lease, index))
}

// Partial is the sealed partial, which members of the collection read until it is purged.
func (o *Overlay) Partial(lease wire.Bytes32, index uint8) []byte {
	value, err := o.ledger.GetPrivateData(Partials, partialKey(lease, index))
	if err != nil {
		o.fail(fmt.Errorf("read private %s: %w", partialKey(lease, index), err))
	}
	return value
}

// PutPartial stores the hash for all and the sealed bytes for the members.
func (o *Overlay) PutPartial(lease wire.Bytes32, index uint8, hash wire.Bytes32, sealed []byte) {
	store(o, partialKey(lease, index), hash)
	o.partials[partialKey(lease, index)] = sealed
}

// Post is a message on the board.
func (o *Overlay) Post(epoch uint64, phase, index uint8) ([]byte, bool) {
	return load[[]byte](o, postKey(epoch, phase, index))
}

// PutPost stores it.
func (o *Overlay) PutPost(epoch uint64, phase, index uint8, body []byte) {
	store(o, postKey(epoch, phase, index), body)
}

// PrefetchRun reads what applying these items needs: marks, then records and answers of the unmarked ones.
func (o *Overlay) PrefetchRun(own, source wire.Lane, generation uint64, items []wire.Item) {
	lane := wire.LaneHash(source)
	marks := make([]string, len(items))
	for i, item := range items {
		marks[i] = markKey(lane, generation, item.Sequence)
	}
	o.Prefetch(marks)
	var records []string
	for i, item := range items {
		if len(o.known[marks[i]]) != 0 {
			continue
		}
		switch item.Event.Kind {
		case wire.KindLocked, wire.KindRefused:
			records = append(records, answerKey(item.Event.Subject, source), publicationKey(item.Event.Subject))
		case wire.KindOutcome, wire.KindSuperseded, wire.KindAnswered, wire.KindRevoked:
			records = append(records, publicationKey(item.Event.Subject))
		case wire.KindBatchAnswered:
			records = append(records, batchAnswerKey(item.Event.Subject, source), batchKey(own, item.Event.Subject))
		case wire.KindBatchOutcome:
			records = append(records, batchKey(source, item.Event.Subject))
		}
	}
	o.Prefetch(records)
}
