"""Threshold decryption by ferveo, out of nucypher-core. Runs in an environment of its own, never in ours.

    python decrypt.py N THRESHOLD COUNT

Generates a key among N, encrypts 32 bytes and decrypts them COUNT times with THRESHOLD shares, each of which checks the
ciphertext. Prints {"cpu_seconds": of one decryption, "round": ...}.
"""

# pyright: basic, reportMissingImports=false

import json
import sys
import time

from nucypher_core import ferveo

_AAD = b"a label"
_SECRET = bytes(range(32))


def _key(n, threshold):
    pairs = [ferveo.Keypair.random() for _ in range(n)]
    validators = [ferveo.Validator(f"0x{i:040x}", pair.public_key(), i) for i, pair in enumerate(pairs)]
    rounds = [ferveo.Dkg(1, n, threshold, validators, me) for me in validators]
    messages = [
        ferveo.ValidatorMessage(me, dkg.generate_transcript()) for me, dkg in zip(validators, rounds, strict=True)
    ]
    aggregate = rounds[0].aggregate_transcripts(messages)
    if not aggregate.verify(n, messages):
        raise SystemExit("the transcript does not verify")
    return pairs, rounds, messages, aggregate


def _decrypt(pairs, rounds, aggregates, ciphertext, threshold):
    shares = [
        aggregates[i].create_decryption_share_simple(rounds[i], ciphertext.header, _AAD, pairs[i])
        for i in range(threshold)
    ]
    secret = ferveo.combine_decryption_shares_simple(shares)
    return ferveo.decrypt_with_shared_secret(ciphertext, _AAD, secret)


def main(n, threshold, count):
    """See above."""
    pairs, rounds, messages, first = _key(n, threshold)
    aggregates = [first, *(rounds[i].aggregate_transcripts(messages) for i in range(1, threshold))]
    ciphertext = ferveo.encrypt(_SECRET, _AAD, first.public_key)
    if bytes(_decrypt(pairs, rounds, aggregates, ciphertext, threshold)) != _SECRET:
        raise SystemExit("it decrypts to something else")
    begin = time.process_time()
    for _ in range(count):
        _decrypt(pairs, rounds, aggregates, ciphertext, threshold)
    print(json.dumps({"cpu_seconds": (time.process_time() - begin) / count}))


if __name__ == "__main__":
    main(*map(int, sys.argv[1:4]))
