// The script that one would write by hand: it lists all tokens with the official SDK,
// counts them, and exposes the counts with prom-client. TRIGGER_API_URL and
// TRIGGER_SECRET_KEY name the environment, PEER_PORT is the port to serve on, and
// PEER_INTERVAL_MS is the time between listings.
import { createServer } from "node:http";
import { wait } from "@trigger.dev/sdk";
import { Gauge, register } from "prom-client";

const tokens = new Gauge({ name: "peer_tokens", help: "Tokens by status.", labelNames: ["status"] });
const tagged = new Gauge({ name: "peer_tagged_tokens", help: "Tokens by tag and status.", labelNames: ["tag", "status"] });
const stuck = new Gauge({ name: "peer_stuck_tokens", help: "WAITING for more than an hour." });

async function refresh() {
  const byStatus = new Map();
  const byTag = new Map();
  let old = 0;
  for await (const token of wait.listTokens({ limit: 100 })) {
    byStatus.set(token.status, (byStatus.get(token.status) ?? 0) + 1);
    for (const tag of token.tags) {
      const counts = byTag.get(tag) ?? {};
      counts[token.status] = (counts[token.status] ?? 0) + 1;
      byTag.set(tag, counts);
    }
    if (token.status === "WAITING" && Date.now() - token.createdAt.getTime() > 3_600_000) old++;
  }
  tokens.reset();
  for (const [status, n] of byStatus) tokens.set({ status }, n);
  tagged.reset();
  for (const [tag, counts] of byTag) for (const [status, n] of Object.entries(counts)) tagged.set({ tag, status }, n);
  stuck.set(old);
}

async function loop() {
  try {
    await refresh();
  } catch (error) {
    console.error(String(error));
  }
  setTimeout(loop, Number(process.env.PEER_INTERVAL_MS ?? 60_000));
}

createServer(async (_request, response) => {
  response.setHeader("Content-Type", register.contentType);
  response.end(await register.metrics());
}).listen(Number(process.env.PEER_PORT), "127.0.0.1");
loop();
