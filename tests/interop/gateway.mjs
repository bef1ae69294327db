// A gateway as Discord has one, on Node's `ws`, for tests/gateway.rs. Ends with its standard input.
//
// usage: gateway.mjs PORT STATE
//
// PORT 0 is a free one; the port is the first line that it prints. Sessions are kept in the file STATE, so that they outlive it.
// It tells what the client does, a line each: `identify`, `resume SESSION SEQ`, `heartbeat SEQ`, `closed CODE`. It does what its
// standard input says: `emit N` (so many events of the session), `close CODE`, `reconnect` (opcode 7), `invalid` (opcode 9),
// `mute` (heartbeats get no answer).

import { readFileSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import readline from "node:readline";

const { WebSocketServer } = createRequire(import.meta.url)("ws"); // unlike an import, this looks into NODE_PATH

const HEARTBEAT_MS = 100;
const [port, file] = process.argv.slice(2);

/** The last event of each session: its number is its content, too. */
const sessions = (() => {
  try {
    return JSON.parse(readFileSync(file, "utf8"));
  } catch {
    return {}; // the first start
  }
})();
let current; // the client that has a session
let muted = false;

const say = (line) => process.stdout.write(`${line}\n`);
const save = () => writeFileSync(file, JSON.stringify(sessions));

function emit(client, s) {
  client.socket.send(JSON.stringify({ op: 0, t: "MESSAGE_CREATE", s, d: { n: s } }));
}

const handlers = {
  1: (client, seq) => {
    say(`heartbeat ${seq}`);
    if (!muted) client.socket.send(JSON.stringify({ op: 11 }));
  },
  2: (client, { token }) => {
    say("identify");
    if (token !== "secret") return client.socket.close(4004, "Authentication failed.");
    client.session = `session-${Object.keys(sessions).length}`;
    sessions[client.session] = 1;
    save();
    client.socket.send(JSON.stringify({ op: 0, t: "READY", s: 1, d: { session_id: client.session } }));
    current = client;
  },
  6: (client, { session_id: session, seq }) => {
    say(`resume ${session} ${seq}`);
    if (!(session in sessions)) return client.socket.send(JSON.stringify({ op: 9, d: false }));
    client.session = session;
    for (let s = seq + 1; s <= sessions[session]; s += 1) emit(client, s);
    client.socket.send(JSON.stringify({ op: 0, t: "RESUMED", s: sessions[session], d: {} }));
    current = client;
  },
};

const server = new WebSocketServer({ host: "127.0.0.1", port: Number(port) });
server.on("listening", () => say(server.address().port));
server.on("connection", (socket) => {
  muted = false;
  const client = { socket };
  socket.on("message", (data) => {
    const { op, d } = JSON.parse(data);
    handlers[op](client, d);
  });
  socket.on("close", (code) => say(`closed ${code}`));
  socket.send(JSON.stringify({ op: 10, d: { heartbeat_interval: HEARTBEAT_MS } }));
});

const commands = {
  emit: (count) => {
    for (let i = 0; i < Number(count); i += 1) {
      sessions[current.session] += 1;
      // One that is gone gets it when it resumes.
      if (current.socket.readyState === current.socket.OPEN) emit(current, sessions[current.session]);
    }
    save();
  },
  close: (code) => current.socket.close(Number(code)),
  reconnect: () => current.socket.send(JSON.stringify({ op: 7 })),
  invalid: () => {
    delete sessions[current.session];
    sessions[`was-${current.session}`] = 0;
    save();
    current.socket.send(JSON.stringify({ op: 9, d: false }));
  },
  mute: () => {
    muted = true;
  },
};
readline
  .createInterface({ input: process.stdin })
  .on("line", (line) => {
    const [command, argument] = line.split(" ");
    commands[command](argument);
  })
  .on("close", () => process.exit(0));
