// Send a request to the HTTP API, signed with aws4fetch (npm install aws4fetch).
//
//   API_URL=https://….execute-api.eu-west-1.amazonaws.com AWS_REGION=eu-west-1 \
//   AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… \
//   node examples/http/send.mjs examples/first-push.json
//
// A second argument is the idempotency key. Use the same key if you repeat the request.
// For credentials from profiles and roles, use @aws-sdk/credential-providers.

import { readFile } from "node:fs/promises";
import { AwsClient } from "aws4fetch";

const { API_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env;
const [, , file, key] = process.argv;

function stop(reason) {
  console.error(reason);
  process.exit(2);
}
if (file === undefined) stop("usage: send.mjs FILE [IDEMPOTENCY_KEY]");
for (const name of ["API_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]) {
  if (!process.env[name]) stop(`${name} is not set`);
}

const aws = new AwsClient({
  accessKeyId: AWS_ACCESS_KEY_ID,
  secretAccessKey: AWS_SECRET_ACCESS_KEY,
  sessionToken: AWS_SESSION_TOKEN,
  region: process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION,
  service: "execute-api",
  // Without a key, a retry may send a push twice.
  retries: key === undefined ? 0 : 3,
});

const body = await readFile(file).catch((error) => stop(error.message));
const answer = await aws
  .fetch(`${API_URL.replace(/\/$/, "")}/messages`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      ...(key === undefined ? {} : { "Idempotency-Key": key }),
    },
    body,
    signal: AbortSignal.timeout(35_000), // API Gateway answers within 30 s
  })
  .catch((error) => stop(`not sent, or without an answer: ${error.cause?.message ?? error.message}`));

const report = await answer.json().catch(() => stop("the answer is not JSON"));
console.log(JSON.stringify(report, null, 2));
if (!answer.ok) {
  console.error(`HTTP ${answer.status}`);
  process.exitCode = 1;
}
