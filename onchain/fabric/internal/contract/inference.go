package contract

import (
	"caimi.local/onchain/fabric/internal/state"
	"caimi.local/onchain/fabric/internal/wire"
)

// requestInference records a request for one answer from a COMMITTED publication.
func (r *registry) requestInference(q wire.InferenceRequest, signature []byte) error {
	id := wire.TypedDigest(r.network, q)
	if repeated, err := r.authorise(id, q.Consumer, q.At, q.Nonce, signature); err != nil || repeated {
		return err
	}
	if err := r.checkRunning(); err != nil {
		return err
	}
	if r.now > q.Deadline {
		return wire.Expired.With(q.Deadline, r.now)
	}
	record, known := r.ledger.Publication(q.Publication)
	if !known {
		return wire.UnknownPublication.With(q.Publication)
	}
	if record.State != stateCommitted {
		return wire.NotCommitted.With(record.State)
	}
	if err := checkCid(q.Input); err != nil {
		return err
	}
	r.ledger.UseNonce(q.Consumer, q.Nonce, id)
	r.ledger.PutRequest(id, state.Request{Request: q})
	r.out.emit(wire.KindRequested, []wire.Lane{r.lane}, q.Publication, wire.RequestedBody{
		Request: id, Consumer: q.Consumer, Input: q.Input,
		InputCommitment: q.InputCommitment, ClientKey: q.ClientKey, Deadline: q.Deadline,
	})
	return nil
}

// answerInference records a host's signed answer to a request made here.
func (r *registry) answerInference(a wire.Answer, signature []byte, key wire.HostKey, operatorSignature []byte) error {
	if _, err := r.verifyHost(a, signature, key, operatorSignature); err != nil {
		return err
	}
	if err := r.checkLane(a.At); err != nil {
		return err
	}
	request, known := r.ledger.Request(a.Request)
	asked := request.Request
	switch {
	case !known:
		return wire.UnknownRequest.With(a.Request)
	case !request.ReceiptHash.IsZero():
		return nil
	}
	if _, err := r.accepting(key.Epoch); err != nil {
		return err
	}
	switch {
	case r.now > key.Until:
		return wire.HostKeyExpired.With(key.Until, r.now)
	case r.now > asked.Deadline:
		return wire.Expired.With(asked.Deadline, r.now)
	case a.Publication != asked.Publication || a.InputCommitment != asked.InputCommitment || a.ReceiptHash.IsZero():
		return wire.WrongCommitment.With()
	}
	if err := checkCid(a.Output); err != nil {
		return err
	}
	record, _ := r.ledger.Publication(asked.Publication) // there since the request
	request.ReceiptHash = a.ReceiptHash
	r.ledger.PutRequest(a.Request, request)
	r.out.emit(wire.KindAnswered, []wire.Lane{record.Home}, asked.Publication, wire.AnsweredBody{
		Request: a.Request, ReceiptHash: a.ReceiptHash, Output: a.Output,
	})
	return nil
}
