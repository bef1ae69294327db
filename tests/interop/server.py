"""The server of the interop tests on Python's `websockets`. Prints its port; ends with its standard input.

usage: server.py [--cert FILE --key FILE]

/echo                 sends every message back
/ticks                pours JSON ticks as fast as the socket takes them, and drops what it gets
/source?count=&size=  sends `count` binary messages; byte j of message i is (i + j) % 251; then closes with 1000
/sink                 counts messages; answers the text "done" with "<messages> <bytes>"
/close?code=&reason=  closes at once
/closed               prints "<code> <reason>" of the client's Close frame

With `deflate` in the query it compresses; `client_bits=` and `server_bits=` set the windows that it asks for, and
`no_takeover` makes both sides compress each message by itself.
"""

import argparse
import asyncio
import itertools
import logging
import ssl
import sys
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import serve
from websockets.exceptions import ConnectionClosed
from websockets.extensions.permessage_deflate import ServerPerMessageDeflateFactory

PERIOD = 251


async def echo(socket, query):
    async for message in socket:
        await socket.send(message)


async def ticks(socket, query):
    async def pour():
        for number in itertools.count(1):
            await socket.send(f'{{"symbol":"WSF","price":{100 + number % 1000 / 100:.2f},"size":100,"seq":{number}}}')
            if number % 64 == 0:
                await asyncio.sleep(0)  # a send that need not wait gives nobody else a turn

    async def drain():
        async for _ in socket:
            pass

    await asyncio.gather(pour(), drain())


async def source(socket, query):
    count, size = int(query["count"]), int(query["size"])
    pattern = bytes(range(PERIOD)) * (size // PERIOD + 2)
    for number in range(count):
        start = number % PERIOD
        await socket.send(pattern[start : start + size])


async def sink(socket, query):
    messages = size = 0
    async for message in socket:
        if message == "done":
            await socket.send(f"{messages} {size}")
        else:
            messages += 1
            size += len(message.encode() if isinstance(message, str) else message)


async def close(socket, query):
    await socket.close(int(query["code"]), query["reason"])


async def closed(socket, query):
    await socket.wait_closed()
    print(socket.close_code, socket.close_reason, flush=True)


ROUTES = {"/echo": echo, "/ticks": ticks, "/source": source, "/sink": sink, "/close": close, "/closed": closed}


def parse(request):
    url = urlsplit(request.path)
    return url.path, {name: values[0] for name, values in parse_qs(url.query, keep_blank_values=True).items()}


async def handle(socket):
    path, query = parse(socket.request)
    try:
        await ROUTES[path](socket, query)
    except ConnectionClosed:
        pass


def set_compression(socket, request):
    _, query = parse(request)
    if "deflate" in query:
        bits = {name: int(query[name]) if name in query else None for name in ("client_bits", "server_bits")}
        factory = ServerPerMessageDeflateFactory(
            client_max_window_bits=bits["client_bits"],
            server_max_window_bits=bits["server_bits"],
            client_no_context_takeover="no_takeover" in query,
            server_no_context_takeover="no_takeover" in query,
        )
        socket.protocol.available_extensions = [factory]


def choose_subprotocol(connection, offered):
    return "v1.feed" if "v1.feed" in offered else None


async def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--cert")
    parser.add_argument("--key")
    arguments = parser.parse_args()

    logging.getLogger("asyncio").setLevel(logging.ERROR)  # it warns of each write to a client that is gone
    tls = None
    if arguments.cert:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(arguments.cert, arguments.key)
    server = await serve(
        handle,
        "127.0.0.1",
        0,
        ssl=tls,
        compression=None,
        process_request=set_compression,
        max_size=None,
        select_subprotocol=choose_subprotocol,
    )
    print(server.sockets[0].getsockname()[1], flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close(close_connections=True)


asyncio.run(main())
