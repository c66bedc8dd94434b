"""Load: arrivals that are due whatever the server does, so many callers at a time, connections that are kept."""

from __future__ import annotations

import asyncio
import random

from benchmarks.load import HttpPool, closed_loop, open_loop, poisson_times


def test_arrivals_are_as_many_as_the_rate_says_and_in_order() -> None:
    times = poisson_times(480.0, 20.0, rng=random.Random(7))
    assert times == sorted(times)
    assert times[0] > 0
    assert times[-1] < 20.0
    assert abs(len(times) - 9_600) < 5 * 98  # five standard deviations
    assert times == poisson_times(480.0, 20.0, rng=random.Random(7))


def test_an_open_loop_sends_while_earlier_calls_are_under_way() -> None:
    async def run() -> tuple[int, list[int]]:
        gate, most, running = asyncio.Event(), 0, 0

        async def send(wire: bytes) -> tuple[int, bytes]:
            nonlocal most, running
            running += 1
            most = max(most, running)
            if running == 5:
                gate.set()
            await gate.wait()
            running -= 1
            return int(wire), b"x"

        answers = await open_loop([b"200", b"429", b"200", b"0", b"200"], [0.0] * 5, send)
        return most, [answer.status for answer in answers]

    assert asyncio.run(run()) == (5, [200, 429, 200, 0, 200])


def test_an_open_loop_counts_from_when_a_call_was_due() -> None:
    async def run() -> float:
        async def send(wire: bytes) -> tuple[int, bytes]:
            return 200, wire

        # Due long ago: the time in which it could not be sent is part of its latency.
        (answer,) = await open_loop([b"x"], [-5.0], send)
        return answer.seconds

    assert asyncio.run(run()) >= 5.0


def test_a_closed_loop_has_so_many_under_way_and_no_more() -> None:
    async def run() -> tuple[int, int]:
        most = running = 0

        async def send(wire: bytes) -> tuple[int, bytes]:
            nonlocal most, running
            running += 1
            most = max(most, running)
            await asyncio.sleep(0)
            running -= 1
            return 200, wire

        _, answers = await closed_loop([b"x"] * 50, 7, send, seconds=60.0)
        return most, len(answers)

    assert asyncio.run(run()) == (7, 50)


def test_a_closed_loop_ends_when_its_time_is_over() -> None:
    async def run() -> int:
        async def send(wire: bytes) -> tuple[int, bytes]:
            return 200, wire

        _, answers = await closed_loop([b"x"] * 50, 3, send, seconds=-1.0)
        return len(answers)

    assert asyncio.run(run()) == 0


def test_connections_are_kept_and_a_broken_one_is_status_0() -> None:
    async def run() -> tuple[list[tuple[int, bytes]], int]:
        opened = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal opened
            opened += 1
            for number in range(3):
                await reader.readuntil(b"\r\n\r\n")
                if number == 2:
                    break
                writer.write(b"HTTP/1.1 429 Too Many\r\nContent-Length: 2\r\n\r\nno")
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        pool = HttpPool("127.0.0.1", server.sockets[0].getsockname()[1])
        answers = [await pool.send(b"GET / HTTP/1.1\r\n\r\n") for _ in range(4)]
        await pool.close()
        server.close()
        return answers, opened

    answers, opened = asyncio.run(run())
    assert answers == [(429, b"no"), (429, b"no"), (0, b""), (429, b"no")]
    assert opened == 2
