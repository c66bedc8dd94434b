"""What all tests share: how hypothesis chooses its examples, and that Ctrl-C is heard."""

import signal

from hypothesis import settings

# A shell has its background jobs ignore Ctrl-C, and every process that they start: ours are interrupted all the same.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

# The same examples on every run: a test that passes here passes in CI, and a failure is replayed by running it again.
settings.register_profile("caimi", deadline=None, derandomize=True)
# `make test-long` looks further, at fresh examples; a failure prints what replays it.
settings.register_profile("long", deadline=None, max_examples=2000, print_blob=True)
settings.load_profile("caimi")
