// Lists a population with the official SDK, once for each query in the JSON of
// CHECK_QUERIES, and prints the tokens of each query in order. TRIGGER_API_URL and
// TRIGGER_SECRET_KEY name the environment.
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
