// The server of the interop tests on Node's `ws`. Prints its port; ends with its standard input.
//
// usage: server.mjs [--cert FILE --key FILE]
//
// It serves the same paths as server.py, which says what each does.

import { readFileSync } from "node:fs";
import http from "node:http";
import https from "node:https";
import { createRequire } from "node:module";
import { parseArgs } from "node:util";

const { WebSocketServer } = createRequire(import.meta.url)("ws"); // unlike an import, this looks into NODE_PATH

const PERIOD = 251;
const HIGH_WATER_MARK = 64 * 1024;
const BATCH = 64; // after so many messages others get a turn, or no Close frame would be read

/** Sends what `next` returns until that is undefined, as fast as the socket takes it, then calls `end`. */
function pour(socket, next, end) {
  for (let sent = 1; socket.readyState === socket.OPEN; sent += 1) {
    const message = next();
    if (message === undefined) return end();
    if (sent === BATCH || socket.bufferedAmount > HIGH_WATER_MARK) {
      socket.send(message, () => setImmediate(pour, socket, next, end));
      return;
    }
    socket.send(message);
  }
}

const routes = {
  "/echo": (socket) => socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary })),

  "/ticks": (socket) => {
    let seq = 0;
    const tick = () => {
      seq += 1;
      return JSON.stringify({ symbol: "WSF", price: 100 + (seq % 1000) / 100, size: 100, seq });
    };
    pour(socket, tick);
  },

  "/source": (socket, query) => {
    const [count, size] = [Number(query.get("count")), Number(query.get("size"))];
    const pattern = Uint8Array.from({ length: size + PERIOD }, (_, index) => index % PERIOD);
    let number = 0;
    const message = () => {
      if (number === count) return undefined;
      const start = number++ % PERIOD;
      return pattern.subarray(start, start + size);
    };
    pour(socket, message, () => socket.close(1000));
  },

  "/sink": (socket) => {
    let messages = 0;
    let bytes = 0;
    socket.on("message", (data, isBinary) => {
      if (!isBinary && data.toString() === "done") {
        socket.send(`${messages} ${bytes}`);
      } else {
        messages += 1;
        bytes += data.length;
      }
    });
  },

  "/close": (socket, query) => socket.close(Number(query.get("code")), query.get("reason")),

  "/closed": (socket) => socket.on("close", (code, reason) => console.log(`${code} ${reason}`)),
};

/** What the server is set to for a path with `deflate`, and nothing for another. */
function compression(query) {
  if (!query.has("deflate")) return false;
  const bits = (name) => (query.has(name) ? Number(query.get(name)) : undefined);
  const isForgetful = query.has("no_takeover") || undefined;
  return {
    threshold: 0,
    clientMaxWindowBits: bits("client_bits"),
    serverMaxWindowBits: bits("server_bits"),
    clientNoContextTakeover: isForgetful,
    serverNoContextTakeover: isForgetful,
  };
}

const options = { cert: { type: "string" }, key: { type: "string" } };
const { values: args } = parseArgs({ options });
const server = args.cert
  ? https.createServer({ cert: readFileSync(args.cert), key: readFileSync(args.key) })
  : http.createServer();
server.on("upgrade", (request, tcp, head) => {
  const url = new URL(request.url, "ws://localhost");
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: 0,
    perMessageDeflate: compression(url.searchParams),
    handleProtocols: (offered) => (offered.has("v1.feed") ? "v1.feed" : false),
  });
  sockets.handleUpgrade(request, tcp, head, (socket) => {
    socket.on("error", (error) => console.error(error.message));
    routes[url.pathname](socket, url.searchParams);
  });
});
server.listen(0, "127.0.0.1", () => console.log(server.address().port));
process.stdin.on("end", () => process.exit()).resume();
