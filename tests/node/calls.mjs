// Lists the tools of an MCP server and calls some, by the TypeScript SDK. From standard input
// {generation, mode, url, sessions: [{token, calls: [[name, arguments], ...]}, ...]}; to standard output what each
// session's client was told.

import { readFileSync } from "node:fs";

const { generation, mode, url, sessions } = JSON.parse(readFileSync(0, "utf8"));
const { Client, StreamableHTTPClientTransport } = await sdk();
const told = [];
for (const session of sessions) told.push(await hold(session).catch((fault) => ({ refused: error(fault) })));
process.stdout.write(JSON.stringify(told));

async function hold({ token, calls }) {
  const client = new Client({ name: "tests", version: "1.0.0" }, { versionNegotiation: { mode } });
  const requestInit = { headers: { Authorization: `Bearer ${token}` } };
  const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit });
  await client.connect(transport);
  const { tools } = await client.listTools();
  const answers = [];
  for (const [name, given] of calls) {
    // The client holds each result to the output schema that was listed, and throws where it does not keep to it.
    answers.push(await client.callTool({ name, arguments: given }).catch((fault) => ({ error: error(fault) })));
  }
  await client.close();
  return { revision: client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion, tools, answers };
}

async function sdk() {
  if (generation === 2) return await import("@modelcontextprotocol/client");
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  return { Client, StreamableHTTPClientTransport };
}

function error(fault) {
  return { name: fault.name, code: fault.code ?? null, message: fault.message, data: fault.data ?? null };
}
