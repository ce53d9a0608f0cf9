// Lists a population with the official SDK, each way that is given as JSON in
// CHECK_QUERIES, and prints what it saw: for each query the ids, statuses and
// tags in order. TRIGGER_API_URL and TRIGGER_SECRET_KEY say where.
import { wait } from "@trigger.dev/sdk";

const queries = JSON.parse(process.env.CHECK_QUERIES);
const seen = [];
for (const query of queries) {
  const tokens = [];
  for await (const token of wait.listTokens(query)) {
    tokens.push({
      id: token.id,
      status: token.status,
      tags: [...token.tags].sort(),
      createdAt: token.createdAt.toISOString(),
      completedAt: token.completedAt?.toISOString() ?? "",
      timeoutAt: token.timeoutAt?.toISOString() ?? "",
    });
  }
  seen.push(tokens);
}
console.log(JSON.stringify(seen));
