// Streams of events, however they are cut up on the way.

import assert from "node:assert/strict";
import { test } from "node:test";

import { eventsOf } from "../src/sse.ts";

const STREAM = 'id: 1\nevent: a\ndata: {"x":"é🍐"}\n\n: ping\n\ndata: one\r\ndata: two\r\n\r\ndata:three\n\ndata: cut off';

async function* inPieces(text: string, size: number): AsyncGenerator<Uint8Array> {
  const bytes = new TextEncoder().encode(text);
  for (let at = 0; at < bytes.length; at += size) yield bytes.slice(at, at + size);
}

for (const size of [1, 2, 3, 7, 1000]) {
  test(`a stream in pieces of ${size} bytes gives the same events`, async () => {
    const found: string[] = [];
    for await (const data of eventsOf(inPieces(STREAM, size))) found.push(data);
    assert.deepEqual(found, ['{"x":"é🍐"}', "one\ntwo", "three"]);
  });
}
