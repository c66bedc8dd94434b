"""A delayed line: the same bytes, later, and cut on leaving."""

from __future__ import annotations

import asyncio

from benchmarks.delay import DelayedLine


async def _echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(1 << 16):
        writer.write(data)
    writer.close()


async def _round_trip(round_trip_s: float, sent: bytes) -> tuple[bytes, float]:
    loop = asyncio.get_running_loop()
    server = await asyncio.start_server(_echo, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with DelayedLine.open("127.0.0.1", port, round_trip_s=round_trip_s) as line:
        reader, writer = await asyncio.open_connection("127.0.0.1", line.local_port)
        begin = loop.time()
        writer.write(sent)
        writer.write_eof()
        received = await reader.read()
        took = loop.time() - begin
        writer.close()
    server.close()
    return received, took


def test_all_bytes_arrive_in_order_and_not_before_their_time() -> None:
    sent = bytes(range(256)) * 4_096
    received, took = asyncio.run(_round_trip(0.02, sent))
    assert received == sent
    assert took >= 0.02


def test_a_place_that_does_not_answer_is_a_cut_connection() -> None:
    async def run() -> bytes:
        server = await asyncio.start_server(_echo, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        server.close()
        await server.wait_closed()
        async with DelayedLine.open("127.0.0.1", port, round_trip_s=0.0) as line:
            reader, writer = await asyncio.open_connection("127.0.0.1", line.local_port)
            received = await reader.read()
            writer.close()
            return received

    assert asyncio.run(run()) == b""
