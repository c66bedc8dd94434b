"""Ports that are free, and not promised to somebody else."""

from __future__ import annotations

import random
import socket

import pytest

from caimi.devnet.ports import PORT_RANGE, NoFreePorts, choose_ports


def test_a_port_that_somebody_listens_at_is_not_chosen() -> None:
    (first,) = choose_ports(1, order=random.Random(7))
    with socket.socket() as other:
        other.bind(("127.0.0.1", first))
        assert choose_ports(1, order=random.Random(7)) != [first]


def test_a_port_that_is_promised_is_not_chosen_though_nobody_listens_there() -> None:
    (first,) = choose_ports(1, order=random.Random(7))
    (second,) = choose_ports(1, order=random.Random(7), taken={first})
    assert second != first
    assert first not in choose_ports(40, order=random.Random(7), taken={first})


def test_rejects_when_all_are_promised() -> None:
    with pytest.raises(NoFreePorts):
        choose_ports(1, order=random.Random(7), taken=PORT_RANGE)
