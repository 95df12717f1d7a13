// Register, read and delete devices over the HTTP API, signed with aws4fetch (npm install aws4fetch).
//
//   API_URL=https://….execute-api.eu-west-1.amazonaws.com AWS_REGION=eu-west-1 \
//   AWS_ACCESS_KEY_ID=… AWS_SECRET_ACCESS_KEY=… \
//   node examples/http/devices.mjs register 6f1f2d3c-0a4e-4d5f-9a43-1f0f6f5f3d52 \
//       examples/http/device.json
//
// For credentials from profiles and roles, use @aws-sdk/credential-providers.

import { readFile } from "node:fs/promises";
import { AwsClient } from "aws4fetch";

const COMMANDS = {
  register: ["PUT", (id) => `/devices/${id}`],
  show: ["GET", (id) => `/devices/${id}`],
  delete: ["DELETE", (id) => `/devices/${id}`],
  list: ["GET", (id) => `/users/${id}/devices`],
  erase: ["DELETE", (id) => `/users/${id}`],
};

const { API_URL, AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN } = process.env;
const [, , command, id, ...files] = process.argv;

function stop(reason) {
  console.error(reason);
  process.exit(2);
}
const fits = files.length === (command === "register" ? 1 : 0);
if (!Object.hasOwn(COMMANDS, command ?? "") || id === undefined || !fits) {
  stop("usage: devices.mjs register ID FILE | show ID | delete ID | list USER | erase USER");
}
for (const name of ["API_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"]) {
  if (!process.env[name]) stop(`${name} is not set`);
}

const aws = new AwsClient({
  accessKeyId: AWS_ACCESS_KEY_ID,
  secretAccessKey: AWS_SECRET_ACCESS_KEY,
  sessionToken: AWS_SESSION_TOKEN,
  region: process.env.AWS_REGION ?? process.env.AWS_DEFAULT_REGION,
  service: "execute-api",
  retries: 3, // Every command can be repeated without harm.
});

const [method, path] = COMMANDS[command];
const body = files[0] && (await readFile(files[0]).catch((error) => stop(error.message)));
const answer = await aws
  // Ids can have characters such as @ and |, which a path cannot.
  .fetch(`${API_URL.replace(/\/$/, "")}${path(encodeURIComponent(id))}`, {
    method,
    ...(body && { headers: { "Content-Type": "application/json" }, body }),
    signal: AbortSignal.timeout(35_000), // API Gateway answers within 30 s
  })
  .catch((error) => stop(`not sent, or without an answer: ${error.cause?.message ?? error.message}`));

if (answer.status !== 204) {
  const document = await answer.json().catch(() => stop("the answer is not JSON"));
  console.log(JSON.stringify(document, null, 2));
}
if (!answer.ok) {
  console.error(`HTTP ${answer.status}`);
  process.exitCode = 1;
}
