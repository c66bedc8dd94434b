package contract

import (
	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

// The views of spec 30 §6. Each answers the ABI encoding of its results.

func (r *registry) viewVersion() ([]byte, error)     { return wire.Encode(rulesVersion), nil }
func (r *registry) viewNetwork() ([]byte, error)     { return wire.Encode(r.network), nil }
func (r *registry) viewLane() ([]byte, error)        { return wire.Encode(r.lane), nil }
func (r *registry) viewMinDeposit() ([]byte, error)  { return wire.Encode(r.config.MinDeposit), nil }
func (r *registry) viewClockWindow() ([]byte, error) { return wire.Encode(r.config.ClockWindow), nil }

func (r *registry) viewValidatorSet() ([]byte, error) {
	present := r.epochs().Present
	return wire.Encode(present.Epoch, present.F, present.T, present.Validators), nil
}

// All zero unless certificates of that epoch count here.
func (r *registry) viewValidatorSetOf(epoch uint64) ([]byte, error) {
	signers, err := r.accepting(epoch)
	if err != nil {
		signers = state.EpochSigners{}
	}
	return wire.Encode(signers.Epoch, signers.F, signers.T, signers.Validators), nil
}

func (r *registry) viewEpochs() ([]byte, error) {
	epochs := r.epochs()
	present := epochs.Present
	return wire.Encode(
		epochs.Before.Epoch, present.SetHash, present.Transcript, epochs.Announced, epochs.AnnouncedSet,
	), nil
}

func (r *registry) viewAcknowledged(lane wire.Lane) ([]byte, error) {
	return wire.Encode(r.ledger.Acknowledged(lane)), nil
}

func (r *registry) viewPublication(id wire.Bytes32) ([]byte, error) {
	p, _ := r.ledger.Publication(id)
	return wire.Encode(
		p.Role, p.State, p.Publisher, p.Name, p.Version, p.Home, p.Mirrors, p.Deposit, p.Deadline, p.Awaited, p.Reason,
	), nil
}

func (r *registry) viewIsRevoked(id wire.Bytes32) ([]byte, error) {
	record, _ := r.ledger.Publication(id)
	return wire.Encode(record.Revoked), nil
}

func (r *registry) viewBalance(account wire.Address) ([]byte, error) {
	amount, err := wire.ToUint128(r.ledger.Balance(account))
	return wire.Encode(amount), err
}

func (r *registry) viewTokens(account wire.Address) ([]byte, error) {
	amount, err := wire.ToUint128(r.ledger.Tokens(account))
	return wire.Encode(amount), err
}

// Of a request answered here or, as home, of one whose answer a mirror's event carried here.
func (r *registry) viewReceiptOf(id wire.Bytes32) ([]byte, error) {
	if request, _ := r.ledger.Request(id); !request.ReceiptHash.IsZero() {
		return wire.Encode(request.ReceiptHash), nil
	}
	carried, _ := r.ledger.CarriedReceipt(id)
	return wire.Encode(carried), nil
}

func (r *registry) viewIsMarked(source wire.Lane, generation, sequence uint64) ([]byte, error) {
	var answer uint8 // a bool has the encoding of 0 or 1
	if r.ledger.IsMarked(wire.LaneHash(source), generation, sequence) {
		answer = 1
	}
	return wire.Encode(answer), nil
}

func (r *registry) viewBrakes() ([]byte, error) {
	brakes, limits := r.ledger.Brakes(), r.config.Limits
	withdrawn, err := wire.ToUint128(r.ledger.Withdrawn(r.presentEpoch()))
	return wire.Encode(
		brakes.Paused, brakes.Counter, brakes.Since, limits.ResumeDelay, limits.WithdrawalCap, withdrawn,
	), err
}

func (r *registry) viewRoot() ([]byte, error) { return wire.Encode(r.config.RootLane()), nil }

func (r *registry) viewGoverned(lane wire.Lane) ([]byte, error) {
	return wire.EncodeFields(r.ledger.Governed(lane)), nil
}

func (r *registry) viewLeaseCap() ([]byte, error) { return wire.Encode(r.config.Limits.LeaseCap), nil }

func (r *registry) viewLease(id wire.Bytes32) ([]byte, error) {
	lease, _ := r.ledger.Lease(id)
	return wire.Encode(lease), nil
}

func (r *registry) viewPartials(lease wire.Bytes32) ([]byte, error) {
	record, _ := r.ledger.Lease(lease)
	signers, err := r.accepting(record.Epoch)
	if err != nil {
		signers = r.epochs().Present
	}
	return byIndex(len(signers.Validators), func(index uint8) []byte {
		if _, posted := r.ledger.PartialHash(lease, index); !posted {
			return nil
		}
		return r.ledger.Partial(lease, index)
	}), nil
}

func (r *registry) viewBoard(epoch uint64, phase uint8) ([]byte, error) {
	return byIndex(len(r.seats(epoch)), func(index uint8) []byte {
		body, _ := r.ledger.Post(epoch, phase, index)
		return body
	}), nil
}

// byIndex encodes bytes[]: place i holds what seat i+1 has posted, empty where absent.
func byIndex(count int, read func(index uint8) []byte) []byte {
	list := make([][]byte, count)
	for i := range list {
		list[i] = read(uint8(i + 1))
	}
	return wire.Encode(list)
}

// view answers a read: UnknownFunction, BadEncoding.
func view(ledger *state.Overlay, config state.Config, call []byte) ([]byte, error) {
	run, arguments, err := find(views, call)
	if err != nil {
		return nil, err
	}
	return run(newRegistry(ledger, config), arguments)
}
