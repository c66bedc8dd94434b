package contract

import "caimi.local/onchain/fabric/internal/wire"

// An entry decodes its arguments and runs; a view's result is its answer.
type entry = func(*registry, []byte) ([]byte, error)

type table map[[4]byte]entry

var calls, views = table{}, table{}

var multicallSelector = wire.Selector("multicall", [][]byte(nil))

const (
	maxCalls     = 1000 // calls of one multicall
	selectorSize = 4
)

func init() {
	add2(calls, "lockModel", call2((*registry).lockModel))
	add3(calls, "applyRun", call3((*registry).applyRun))
	add1(calls, "abort", call1((*registry).abort))
	add2(calls, "abortUnlocked", call2((*registry).abortUnlocked))
	add2(calls, "lockBatch", (*registry).lockBatch)
	add2(calls, "answerBatch", call2((*registry).answerBatch))
	add1(calls, "abortBatch", call1((*registry).abortBatch))
	add3(calls, "takeOut", call3((*registry).takeOut))
	add2(calls, "revoke", call2((*registry).revoke))
	add2(calls, "pause", call2((*registry).pause))
	add2(calls, "resume", call2((*registry).resume))
	add2(calls, "govern", call2((*registry).govern))
	add3(calls, "changeSet", call3((*registry).changeSet))
	add1(calls, "enterSet", call1((*registry).enterSet))
	add0(calls, "retireSet", func(r *registry) ([]byte, error) { return nil, r.retireSet() })
	add2(calls, "proposeSet", call2((*registry).proposeSet))
	add2(calls, "withdraw", call2((*registry).withdraw))
	add2(calls, "fund", call2((*registry).fund))
	add2(calls, "mint", call2((*registry).mint))
	add2(calls, "requestInference", call2((*registry).requestInference))
	add4(calls, "answerInference", call4((*registry).answerInference))
	add4(calls, "openLease", call4((*registry).openLease))
	add2(calls, "postPartial", call2((*registry).postPartial))
	add3(calls, "postBoard", call3((*registry).postBoard))
	add1(calls, "multicall", call1((*registry).multicall))

	add0(views, "version", (*registry).viewVersion)
	add0(views, "network", (*registry).viewNetwork)
	add0(views, "lane", (*registry).viewLane)
	add0(views, "validatorSet", (*registry).viewValidatorSet)
	add1(views, "validatorSetOf", (*registry).viewValidatorSetOf)
	add0(views, "epochs", (*registry).viewEpochs)
	add1(views, "acknowledged", (*registry).viewAcknowledged)
	add1(views, "publication", (*registry).viewPublication)
	add1(views, "isRevoked", (*registry).viewIsRevoked)
	add2(views, "stateIn", (*registry).viewStateIn)
	add2(views, "batch", (*registry).viewBatch)
	add1(views, "balance", (*registry).viewBalance)
	add1(views, "tokens", (*registry).viewTokens)
	add1(views, "receiptOf", (*registry).viewReceiptOf)
	add3(views, "isMarked", (*registry).viewIsMarked)
	add0(views, "minDeposit", (*registry).viewMinDeposit)
	add0(views, "clockWindow", (*registry).viewClockWindow)
	add0(views, "root", (*registry).viewRoot)
	add1(views, "governed", (*registry).viewGoverned)
	add0(views, "brakes", (*registry).viewBrakes)
	add0(views, "leaseCap", (*registry).viewLeaseCap)
	add1(views, "lease", (*registry).viewLease)
	add1(views, "partials", (*registry).viewPartials)
	add2(views, "board", (*registry).viewBoard)
}

// multicall runs the calls in order, all or nothing. A multicall in a multicall, or too long a one, is no encoding of a call.
func (r *registry) multicall(list [][]byte) error {
	if len(list) > maxCalls {
		return wire.BadEncoding.With()
	}
	for _, call := range list {
		if len(call) >= selectorSize && [selectorSize]byte(call) == multicallSelector {
			return wire.BadEncoding.With()
		}
		run, arguments, err := find(calls, call)
		if err != nil {
			return err
		}
		if _, err := run(r, arguments); err != nil {
			return err
		}
	}
	return nil
}

func find(t table, call []byte) (entry, []byte, error) {
	if len(call) < selectorSize {
		return nil, nil, wire.UnknownFunction.With()
	}
	run, ok := t[[selectorSize]byte(call)]
	if !ok {
		return nil, nil, wire.UnknownFunction.With()
	}
	return run, call[selectorSize:], nil
}

func decode(data []byte, into ...any) error { return wire.Decode(data, wire.CallLimit, into...) }

// The functions below take selector and decoding from the argument types of the method, which are thus written once.

func call1[A any](f func(*registry, A) error) func(*registry, A) ([]byte, error) {
	return func(r *registry, a A) ([]byte, error) { return nil, f(r, a) }
}

func call2[A, B any](f func(*registry, A, B) error) func(*registry, A, B) ([]byte, error) {
	return func(r *registry, a A, b B) ([]byte, error) { return nil, f(r, a, b) }
}

func call3[A, B, C any](f func(*registry, A, B, C) error) func(*registry, A, B, C) ([]byte, error) {
	return func(r *registry, a A, b B, c C) ([]byte, error) { return nil, f(r, a, b, c) }
}

func call4[A, B, C, D any](f func(*registry, A, B, C, D) error) func(*registry, A, B, C, D) ([]byte, error) {
	return func(r *registry, a A, b B, c C, d D) ([]byte, error) { return nil, f(r, a, b, c, d) }
}

func add0(t table, name string, f func(*registry) ([]byte, error)) {
	t[wire.Selector(name)] = func(r *registry, data []byte) ([]byte, error) {
		if err := decode(data); err != nil {
			return nil, err
		}
		return f(r)
	}
}

func add1[A any](t table, name string, f func(*registry, A) ([]byte, error)) {
	var a A
	t[wire.Selector(name, a)] = func(r *registry, data []byte) ([]byte, error) {
		var a A
		if err := decode(data, &a); err != nil {
			return nil, err
		}
		return f(r, a)
	}
}

func add2[A, B any](t table, name string, f func(*registry, A, B) ([]byte, error)) {
	var a A
	var b B
	t[wire.Selector(name, a, b)] = func(r *registry, data []byte) ([]byte, error) {
		var a A
		var b B
		if err := decode(data, &a, &b); err != nil {
			return nil, err
		}
		return f(r, a, b)
	}
}

func add3[A, B, C any](t table, name string, f func(*registry, A, B, C) ([]byte, error)) {
	var a A
	var b B
	var c C
	t[wire.Selector(name, a, b, c)] = func(r *registry, data []byte) ([]byte, error) {
		var a A
		var b B
		var c C
		if err := decode(data, &a, &b, &c); err != nil {
			return nil, err
		}
		return f(r, a, b, c)
	}
}

func add4[A, B, C, D any](t table, name string, f func(*registry, A, B, C, D) ([]byte, error)) {
	var a A
	var b B
	var c C
	var d D
	t[wire.Selector(name, a, b, c, d)] = func(r *registry, data []byte) ([]byte, error) {
		var a A
		var b B
		var c C
		var d D
		if err := decode(data, &a, &b, &c, &d); err != nil {
			return nil, err
		}
		return f(r, a, b, c, d)
	}
}
