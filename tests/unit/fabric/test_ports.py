"""Ports are free, different, and never those of outgoing connections."""

from __future__ import annotations

import random
import socket

import pytest

from caimi.devnet import ports
from caimi.devnet.ports import PORT_RANGE, NoFreePorts, choose_ports


def test_ports_are_different_and_below_the_ephemeral_range() -> None:
    chosen = choose_ports(60, order=random.Random(1))
    assert len(set(chosen)) == 60
    assert all(port in PORT_RANGE for port in chosen)
    assert max(PORT_RANGE) < 32_768


def test_a_port_in_use_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    (first, second) = choose_ports(2, order=random.Random(2))
    low, high = sorted((first, second))
    monkeypatch.setattr(ports, "PORT_RANGE", [low, high])
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", low))
        assert choose_ports(1, order=random.Random(3)) == [high]
        with pytest.raises(NoFreePorts, match="2 ports wanted, 1 of 2"):
            choose_ports(2, order=random.Random(3))


def test_ports_are_free_again_after_the_choice() -> None:
    (port,) = choose_ports(1, order=random.Random(4))
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", port))
