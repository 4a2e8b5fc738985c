// Makes calls that wait, at a client of the TypeScript SDK that shows pages: whoever sits there decides over REST and comes
// back, or declines. From standard input {generation, mode, url, token, decider, tool, calls: [[arguments, says], ...]}; to
// standard output what the client was asked and told.

import { readFileSync } from "node:fs";

const given = JSON.parse(readFileSync(0, "utf8"));
const { Client, StreamableHTTPClientTransport, elicitation } = await sdk();
const client = new Client(
  { name: "tests", version: "1.0.0" },
  { capabilities: { elicitation: { url: {} } }, versionNegotiation: { mode: given.mode } },
);
const asked = [];
let says;
client.setRequestHandler(elicitation, async (request) => {
  asked.push(request.params);
  if (says === "accept") await decide(request.params.url);
  return { action: says };
});
const requestInit = { headers: { Authorization: `Bearer ${given.token}` } };
const transport = new StreamableHTTPClientTransport(new URL(`${given.url}/mcp`), { requestInit });
await client.connect(transport);
await client.listTools();
const results = [];
for (const [args, action] of given.calls) {
  says = action;
  results.push(await client.callTool({ name: given.tool, arguments: args }));
}
const revision = client.getNegotiatedProtocolVersion?.() ?? transport.protocolVersion;
await client.close();
process.stdout.write(JSON.stringify({ revision, asked, results }));

async function decide(page) {
  const approval = new URL(page).hash.replace("#approval=", "");
  const answer = await fetch(`${given.url}/v1/approvals/${approval}/decision`, {
    method: "POST",
    headers: { Authorization: `Bearer ${given.decider}`, "Content-Type": "application/json" },
    body: JSON.stringify({ decision: "approve" }),
  });
  if (!answer.ok) throw new Error(await answer.text());
}

async function sdk() {
  if (given.generation === 2) {
    return { ...(await import("@modelcontextprotocol/client")), elicitation: "elicitation/create" };
  }
  const { Client } = await import("@modelcontextprotocol/sdk/client/index.js");
  const { StreamableHTTPClientTransport } = await import("@modelcontextprotocol/sdk/client/streamableHttp.js");
  const { ElicitRequestSchema } = await import("@modelcontextprotocol/sdk/types.js");
  return { Client, StreamableHTTPClientTransport, elicitation: ElicitRequestSchema };
}
