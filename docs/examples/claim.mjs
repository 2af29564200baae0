#!/usr/bin/env node
// Claims a sandbox with an environment, starts a process in it, follows its output, and releases it.
//
// A file goes in before, and another one comes out after. All that this needs is Node.js:
//
//     node claim.mjs [SOCKET]
//
// Types are in comments, which editors and `tsc --checkJs` read. More of them can be made of the description at /v1/openapi.json.

import http from "node:http";
import { createInterface } from "node:readline";

const socketPath = process.argv[2] ?? "/run/sandpool/sandpool.sock";

/** What the daemon refused or could not do; code is stable. */
class Failure extends Error {
	/** @param {{code: string, message: string}} error */
	constructor(error) {
		super(error.message);
		this.code = error.code;
	}
}

/**
 * Sends a request, a string as it is and all else as JSON.
 * @param {string} method
 * @param {string} path
 * @param {{body?: string | object, query?: Record<string, string>}} [options]
 * @returns {Promise<http.IncomingMessage>} the answer to read from
 */
async function open(method, path, { body, query } = {}) {
	const target = query ? `${path}?${new URLSearchParams(query)}` : path;
	/** @type {http.IncomingMessage} */
	const answer = await new Promise((resolve, reject) => {
		const request = http.request({ socketPath, method, path: target }, resolve).on("error", reject);
		request.end(body === undefined || typeof body === "string" ? body : JSON.stringify(body));
	});
	if ((answer.statusCode ?? 0) >= 400) throw new Failure(JSON.parse(await text(answer)));
	return answer;
}

/**
 * @param {http.IncomingMessage} answer
 * @returns {Promise<string>} all that it has
 */
async function text(answer) {
	const parts = [];
	for await (const part of answer) parts.push(part);
	return Buffer.concat(parts).toString();
}

/**
 * @param {Parameters<typeof open>} request
 * @returns {Promise<any>} what the answer has as JSON, undefined for nothing
 */
async function ask(...request) {
	const all = await text(await open(...request));
	return all ? JSON.parse(all) : undefined;
}

/**
 * Yields the values of an answer that has one a line, as they come.
 * @param {Parameters<typeof open>} request
 */
async function* lines(...request) {
	for await (const line of createInterface({ input: await open(...request) })) yield JSON.parse(line);
}

const claim = await ask("POST", "/v1/claims", { body: { env: ["NAME=world"], lifetime: "10m", metadata: { example: "claim.mjs" } } });
const at = `/v1/claims/${claim.id}`;
try {
	await ask("PUT", `${at}/files`, { query: { path: "/tmp/in.txt" }, body: "what came in\n" });
	const script = 'echo "hello, $NAME"; for i in 1 2 3; do echo "step $i"; done; tr a-z A-Z </tmp/in.txt >/tmp/out.txt';
	const started = await ask("POST", `${at}/processes`, { body: { args: ["sh", "-c", script] } });
	for await (const line of lines("GET", `${at}/processes/${started.pid}/output`, { query: { follow: "true" } })) {
		if (line.error) throw new Failure(line.error);
		if (line.process) console.log("exit code", line.process.exit_code); // the last line
		else process.stdout.write(Buffer.from(line.data, "base64"));
	}
	process.stdout.write(await text(await open("GET", `${at}/files`, { query: { path: "/tmp/out.txt" } })));
} finally {
	await ask("DELETE", at);
}
