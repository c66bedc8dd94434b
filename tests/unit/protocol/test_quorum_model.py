"""Two conflicting certificates exist exactly when 2q <= n+f; so with the paper's ceil(n/2)."""

from __future__ import annotations

import pytest

from caimi.crypto.quorum import quorum_size
from caimi.simulators.quorum_model import conflicting_certificates

SIZES = [(n, f, q) for n in range(1, 11) for f in range(n) for q in range(1, n + 1)]


def test_conflict_exists_exactly_below_the_quorum() -> None:
    for n, f, q in SIZES:
        found = conflicting_certificates(n=n, f=f, q=q)
        assert (found is not None) == (2 * q <= n + f), (n, f, q, found)


@pytest.mark.parametrize("n", range(4, 11))
def test_our_quorum_is_the_smallest_safe_one(n: int) -> None:
    f = (n - 1) // 3
    q = quorum_size(n, f)
    assert conflicting_certificates(n=n, f=f, q=q) is None
    assert conflicting_certificates(n=n, f=f, q=q - 1) is not None


@pytest.mark.parametrize("n", range(4, 11))
def test_rejects_the_paper_s_threshold(n: int) -> None:
    f = (n - 1) // 3
    assert conflicting_certificates(n=n, f=f, q=-(-n // 2)) is not None
    if n % 2 == 0:
        assert conflicting_certificates(n=n, f=0, q=n // 2) is not None
