"""A market data server on Python's `websockets`, to be killed: tests/market_feed.sh starts it again and again.

usage: feed.py PORT     (0: any free one that no outgoing connection gets by chance)

Prints its port. It pours the ticks of a channel from `{"op":"subscribe","channel":…}` on, and prints

subscribed CHANNEL TOKEN    the token is that of the request's `Authorization`
poured                      when a client was sent 1000 ticks
closed CODE                 the client's Close frame
"""

import asyncio
import itertools
import json
import random
import sys

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed


async def pour(socket, channels):
    for number in itertools.count():
        channel = channels[number % len(channels)]
        await socket.send(f'{{"channel":"{channel}","sequence":{number},"price":{100 + number % 1000 / 100:.2f}}}')
        if number == 1000:
            print("poured", flush=True)
        if number % 64 == 0:
            await asyncio.sleep(0)  # a send that need not wait gives nobody else a turn


async def handle(socket):
    token = socket.request.headers.get("Authorization", "none").removeprefix("Bearer ")
    channels, pouring = [], None
    try:
        async for message in socket:
            request = json.loads(message)
            assert request["op"] == "subscribe", request
            channels.append(request["channel"])
            print("subscribed", request["channel"], token, flush=True)
            pouring = pouring or asyncio.create_task(pour(socket, channels))
    except ConnectionClosed:
        pass
    if pouring:
        pouring.cancel()
    print("closed", socket.close_code, flush=True)


async def start(port):
    # Below the ports of outgoing connections: a client that knocks at one of those may reach itself.
    for candidate in [port] if port else random.sample(range(20000, 32000), 100):
        try:
            return candidate, await serve(handle, "127.0.0.1", candidate, compression=None)
        except OSError:
            if port:
                raise
    sys.exit("no free port")


async def main():
    port, _server = await start(int(sys.argv[1]))
    print(port, flush=True)
    await asyncio.Event().wait()


asyncio.run(main())
