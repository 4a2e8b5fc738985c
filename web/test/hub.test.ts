// Asking the hub: a run followed through lost connections, refusals in words, a token renewed once.

import assert from "node:assert/strict";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { test } from "node:test";

import { Hub, Refused, type HubOptions } from "../src/hub.ts";
import type { RunEvent } from "../src/wire.ts";

type Answer = (request: IncomingMessage, response: ServerResponse) => void;

/** A hub on loopback that gives these answers one after the other, and the requests that it saw. */
async function answering(answers: Answer[], ask: (hub: Hub, seen: IncomingMessage[]) => Promise<void>, options: Partial<HubOptions> = {}): Promise<void> {
  const seen: IncomingMessage[] = [];
  const server: Server = createServer((request, response) => {
    seen.push(request);
    (answers.shift() ?? gone)(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  try {
    await ask(new Hub({ base: () => base, credential: () => ({ token: "old" }), ...options }), seen);
  } finally {
    server.closeAllConnections();
    server.close();
  }
}

const gone: Answer = (request) => request.socket.destroy();

function streaming(from: number, to: number, last: string, end = true): Answer {
  return (_request, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    for (let n = from; n <= to; n += 1) {
      const type = n === to ? last : "message.delta";
      response.write(`id: ${n}\ndata: ${JSON.stringify({ type, run_id: "r", sequence: n })}\n\n`);
    }
    if (end) response.end();
    else setTimeout(() => response.destroy(), 20);
  };
}

function refusing(status: number, problem: object): Answer {
  return (_request, response) => response.writeHead(status, { "Content-Type": "application/problem+json" }).end(JSON.stringify(problem));
}

async function all(events: AsyncGenerator<RunEvent>): Promise<number[]> {
  const found: number[] = [];
  for await (const event of events) found.push(event.sequence);
  return found;
}

test("a run is followed through a cut, a refused connection and a hub that is away, to its end and once each", async () => {
  const lost: boolean[] = [];
  await answering(
    [streaming(1, 3, "message.delta", false), gone, refusing(503, {}), streaming(4, 6, "run.completed")],
    async (hub, seen) => {
      const events = hub.follow("r", 0, new AbortController().signal, (isLost) => lost.push(isLost));
      assert.deepEqual(await all(events), [1, 2, 3, 4, 5, 6]);
      assert.deepEqual(seen.map((each) => each.headers["last-event-id"]), ["0", "3", "3", "3"]);
    },
  );
  assert.ok(lost.includes(true));
  assert.equal(lost.at(-1), false);
});

test("a run that waits is not asked for again when its stream ends there", async () => {
  await answering([streaming(1, 2, "run.waiting")], async (hub, seen) => {
    assert.deepEqual(await all(hub.follow("r", 0, new AbortController().signal)), [1, 2]);
    assert.equal(seen.length, 1);
  });
});

test("what is refused for good is not tried again", async () => {
  await answering([refusing(404, { code: "not_found", detail: "There is no such run." })], async (hub) => {
    await assert.rejects(all(hub.follow("r", 0, new AbortController().signal)), (fault) => {
      assert.ok(fault instanceof Refused);
      assert.deepEqual([fault.status, fault.code, fault.message], [404, "not_found", "There is no such run."]);
      return true;
    });
  });
});

test("following ends when it is stopped", async () => {
  const stopper = new AbortController();
  await answering([gone, gone, gone], async (hub) => {
    const following = all(hub.follow("r", 0, stopper.signal, (isLost) => isLost && stopper.abort()));
    await assert.rejects(following, { name: "AbortError" });
  });
});

test("a refused token is renewed once, and the answer to the new one counts", async () => {
  const fine: Answer = (_request, response) => response.end("{}");
  await answering(
    [refusing(401, {}), fine],
    async (hub, seen) => {
      assert.deepEqual(await hub.get("v1/x"), {});
      assert.deepEqual(seen.map((each) => each.headers.authorization), ["Bearer old", "Bearer new"]);
    },
    { renew: () => Promise.resolve("new") },
  );
});

test("a token that cannot be renewed is told", async () => {
  const told: Refused[] = [];
  await answering(
    [refusing(401, {})],
    async (hub) => assert.rejects(hub.get("v1/x"), Refused),
    { renew: () => Promise.resolve(null), signedOut: (fault) => told.push(fault) },
  );
  assert.equal(told.length, 1);
});

test("a message goes out with its id, and an answer that is no problem is told by its status", async () => {
  await answering([(_request, response) => response.writeHead(502).end("<html>")], async (hub) => {
    await assert.rejects(all(hub.chat({ message: "m", client_message_id: "1" }, new AbortController().signal)), { message: "Bad Gateway" });
  });
});

test("a stream of another kind is taken up behind its last number, to its last event", async () => {
  interface Step { sequence: number; done: boolean }
  const frames = (...steps: Step[]): Answer => (_request, response) => {
    response.writeHead(200, { "Content-Type": "text/event-stream" });
    response.end(steps.map((step) => `id: ${step.sequence}\ndata: ${JSON.stringify(step)}\n\n`).join(""));
  };
  await answering([frames({ sequence: 3, done: false }), frames({ sequence: 9, done: true })], async (hub, seen) => {
    const found: number[] = [];
    const following = { after: 0, signal: new AbortController().signal, isLast: (step: Step) => step.done };
    for await (const step of hub.events<Step>("v1/x/events", following)) found.push(step.sequence);
    assert.deepEqual(found, [3, 9]);
    assert.deepEqual(seen.map((each) => [each.url, each.headers["last-event-id"]]), [["/v1/x/events", "0"], ["/v1/x/events", "3"]]);
  });
});

test("an act goes out under its key, and a denial says by which rules", async () => {
  const denied = refusing(403, { code: "denied", detail: "Policy forbids this call.", verdict: { reasons: ["role_too_low"] } });
  await answering([denied], async (hub, seen) => {
    await assert.rejects(hub.post("v1/x", undefined, "k1"), (fault) => {
      assert.ok(fault instanceof Refused);
      assert.deepEqual(fault.reasons, ["role_too_low"]);
      return true;
    });
    assert.equal(seen[0]?.headers["idempotency-key"], "k1");
    assert.equal(seen[0]?.headers["content-type"], undefined);
  });
});
