#!/usr/bin/env node
// Prisma's query engine for its Python client, from npm packages alone: the same engine as WebAssembly
// (@prisma/client), with the driver `pg`, behind the HTTP interface of the engine's executable, which only
// comes from a download site. LiteLLM's database goes through it. For tests, not for a service.
//
// The Python client speaks GraphQL with the engine; its WebAssembly form takes JSON. So queries are
// translated, and typed values ({"$type": …}) of answers are made plain.
//
//     QUERY_ENGINE_MODULES   the folder with node_modules
//     QUERY_ENGINE_SCHEMA    schema.prisma
//     DATABASE_URL           where PostgreSQL is

import { createRequire } from "node:module";
import fs from "node:fs";
import http from "node:http";
import path from "node:path";

const VERSION = "393aa359c9ad4a4bb28630fb5613f9c281cde053"; // of Prisma 5.17.0
if (process.argv.includes("--version")) {
  console.log(`query-engine ${VERSION}`);
  process.exit(0);
}

const modules = process.env.QUERY_ENGINE_MODULES;
const require = createRequire(path.join(modules, "package.json"));
const { parse } = require("graphql");
const { Pool } = require("pg");
const { PrismaPg } = require("@prisma/adapter-pg");
const { bindAdapter } = require("@prisma/driver-adapter-utils");

const runtime = path.join(modules, "node_modules/@prisma/client/runtime");
const glue = require(path.join(runtime, "query_engine_bg.postgresql.js"));
const wasm = new WebAssembly.Module(fs.readFileSync(path.join(runtime, "query_engine_bg.postgresql.wasm")));
glue.__wbg_set_wasm(new WebAssembly.Instance(wasm, { "./query_engine_bg.js": glue }).exports);

const schema = fs
  .readFileSync(process.env.QUERY_ENGINE_SCHEMA, "utf8")
  .replace(/generator client \{[^}]*\}/, 'generator client {\n  provider = "prisma-client-js"\n  previewFeatures = ["driverAdapters"]\n}');
const overwrite = process.env.OVERWRITE_DATASOURCES ? JSON.parse(process.env.OVERWRITE_DATASOURCES) : [];
const url = overwrite[0]?.url ?? process.env.DATABASE_URL;
const pool = new Pool({ connectionString: url.replace(/\?.*$/, ""), max: 10 });
const adapter = bindAdapter(new PrismaPg(pool));
const engine = new glue.QueryEngine(
  { datamodel: schema, logLevel: "error", logQueries: false, ignoreEnvVarErrors: true, env: {}, configDir: "." },
  () => {},
  adapter,
);

const VERBS = [
  "findUnique", "findFirst", "findMany", "createOne", "createMany", "updateOne", "updateMany", "upsertOne",
  "deleteOne", "deleteMany", "aggregate", "groupBy", "queryRaw", "executeRaw",
];

function value(node) {
  switch (node.kind) {
    case "ObjectValue":
      return Object.fromEntries(node.fields.map((field) => [field.name.value, value(field.value)]));
    case "ListValue":
      return node.values.map(value);
    case "IntValue":
    case "FloatValue":
      return Number(node.value);
    case "NullValue":
      return null;
    default:
      return node.value;
  }
}

const args = (field) => Object.fromEntries((field.arguments ?? []).map((arg) => [arg.name.value, value(arg.value)]));

function selection(set) {
  const found = {};
  for (const field of set?.selections ?? []) {
    found[field.name.value] = field.selectionSet
      ? { arguments: args(field), selection: selection(field.selectionSet) }
      : true;
  }
  return found;
}

// Fields of type Json, by model: GraphQL has them as text, which JSON would take for a text in it.
const jsonFields = new Map();
for (const [, model, body] of schema.matchAll(/^model (\w+) \{\n([\s\S]*?)^\}/gm))
  jsonFields.set(model, new Set([...body.matchAll(/^\s*(\w+)\s+Json\b/gm)].map((match) => match[1])));

function tagged(item, fields) {
  if (Array.isArray(item)) return item.map((inner) => tagged(inner, fields));
  if (item === null || typeof item !== "object") return item;
  return Object.fromEntries(
    Object.entries(item).map(([key, inner]) =>
      fields.has(key) && typeof inner === "string"
        ? [key, { $type: "Json", value: inner }]
        : [key, tagged(inner, fields)],
    ),
  );
}

function translate(text) {
  const [field] = parse(text).definitions[0].selectionSet.selections;
  const verb = VERBS.find((verb) => field.name.value.startsWith(verb));
  if (!verb) throw new Error(`no verb in ${field.name.value}`);
  const model = field.name.value.slice(verb.length);
  const said = tagged(args(field), jsonFields.get(model) ?? new Set());
  const query = { action: verb, query: { arguments: said, selection: selection(field.selectionSet) } };
  if (model) query.modelName = model;
  return { query, alias: field.alias?.value ?? field.name.value };
}

function plain(item) {
  if (Array.isArray(item)) return item.map(plain);
  if (item === null || typeof item !== "object") return item;
  if ("$type" in item) {
    if (item.$type === "Json" && typeof item.value !== "string") return JSON.stringify(item.value);
    if (item.$type === "BigInt") return Number(item.value);
    return item.value;
  }
  return Object.fromEntries(Object.entries(item).map(([key, inner]) => [key, plain(inner)]));
}

function answer(found, alias) {
  if (found.errors) return found;
  let inner = Object.values(found.data)[0];
  // A raw result has columns, types and rows, or is a text of them.
  if (typeof inner === "string" && inner.startsWith("{")) inner = JSON.parse(inner);
  return { data: { [alias]: plain(inner) } };
}

async function query(body, transaction) {
  const trace = "{}";
  if (body.batch) {
    const parts = body.batch.map((item) => translate(item.query));
    const request = { batch: parts.map((part) => part.query), transaction: body.transaction ? {} : undefined };
    const found = JSON.parse(await engine.query(JSON.stringify(request), trace, transaction));
    if (!found.batchResult) return found;
    return { batchResult: found.batchResult.map((item, number) => answer(item, parts[number].alias)) };
  }
  const { query, alias } = translate(body.query);
  return answer(JSON.parse(await engine.query(JSON.stringify(query), trace, transaction)), alias);
}

async function respond(request, text) {
  const [, head, id, verb] = request.url.split("?")[0].split("/");
  if (head === "status") return { status: "ok" };
  if (head === "metrics") return { counters: [], gauges: [], histograms: [] };
  if (head === "transaction" && id === "start") {
    const said = JSON.parse(text || "{}");
    const options = { max_wait: said.max_wait ?? 2000, timeout: said.timeout ?? 5000 };
    if (said.isolation_level) options.isolation_level = said.isolation_level;
    return JSON.parse(await engine.startTransaction(JSON.stringify(options), "{}"));
  }
  if (head === "transaction" && verb === "commit") return JSON.parse(await engine.commitTransaction(id, "{}"));
  if (head === "transaction" && verb === "rollback") return JSON.parse(await engine.rollbackTransaction(id, "{}"));
  return query(JSON.parse(text), request.headers["x-transaction-id"]);
}

await engine.connect("{}");
const port = Number(process.argv[process.argv.indexOf("-p") + 1]);
const server = http.createServer((request, response) => {
  const parts = [];
  request.on("data", (part) => parts.push(part));
  request.on("end", async () => {
    let found;
    try {
      found = await respond(request, Buffer.concat(parts).toString());
    } catch (error) {
      if (process.env.QUERY_ENGINE_LOG) fs.appendFileSync(process.env.QUERY_ENGINE_LOG, `${error.stack}\n${parts}\n`);
      found = { errors: [{ error: String(error), user_facing_error: { message: String(error), is_panic: false } }] };
    }
    if (process.env.QUERY_ENGINE_LOG && found.errors)
      fs.appendFileSync(process.env.QUERY_ENGINE_LOG, `${Buffer.concat(parts)} -> ${JSON.stringify(found)}\n`);
    const body = JSON.stringify(found);
    response.writeHead(200, { "Content-Type": "application/json" });
    response.end(body);
  });
});
server.listen(port, "localhost");
const parent = process.ppid;
setInterval(() => process.ppid !== parent && process.exit(0), 1000);
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => process.exit(0));
