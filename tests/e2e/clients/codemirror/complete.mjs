// Asks one server with the completion client of Prometheus' query editor.
//
// Usage: node complete.mjs URL GET|POST < questions.json
// Questions: [{"call": [method, ...arguments]}] of the client, where {"selector": "{a=~\"b\"}"} stands for matchers as
// the editor makes them of what is typed; or [{"complete": "sum(rate(|"}], with | for the cursor.
// Prints {"answers": [...], "errors": [...], "requests": ["POST /api/v1/labels 200", ...]}.

import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// All from the same kind of modules: the editor's classes are compared by identity.
const require = createRequire(import.meta.url);
const { CompletionContext } = require('@codemirror/autocomplete');
const { ensureSyntaxTree } = require('@codemirror/language');
const { EditorState } = require('@codemirror/state');
const { PromQLExtension, newCompleteStrategy } = require('@prometheus-io/codemirror-promql');
const { HTTPPrometheusClient } = require('@prometheus-io/codemirror-promql/dist/cjs/client/prometheus.js');
const { buildLabelMatchers } = require('@prometheus-io/codemirror-promql/dist/cjs/parser/matcher.js');

const [, , url, httpMethod] = process.argv;
const errors = [];
const requests = [];
const config = {
  url,
  httpMethod,
  lookbackInterval: 12 * 3600 * 1000,
  httpErrorHandler: (error) => errors.push(error.message),
  fetchFn: async (input, init) => {
    const reply = await fetch(input, init);
    const { pathname } = new URL(input);
    requests.push(`${init.method ?? 'GET'} ${pathname} ${reply.status}`);
    return reply;
  },
};

function edited(text) {
  const state = EditorState.create({ doc: text, extensions: new PromQLExtension().asExtension() });
  ensureSyntaxTree(state, state.doc.length, 5000);
  return state;
}

function matchers(text) {
  const state = edited(text);
  const nodes = [];
  ensureSyntaxTree(state, text.length, 5000).iterate({
    enter: ({ name, node }) => {
      if (/^(Unquoted|Quoted)LabelMatcher$/.test(name)) nodes.push(node);
    },
  });
  return buildLabelMatchers(nodes, state);
}

async function complete(text) {
  const pos = text.indexOf('|');
  const state = edited(text.replace('|', ''));
  const found = await newCompleteStrategy({ remote: config }).promQL(new CompletionContext(state, pos, true));
  return found.options.map(({ label, type, detail, info, apply }) => ({
    label, type, detail, info, apply: typeof apply === 'string' ? apply : undefined,
  }));
}

const client = new HTTPPrometheusClient(config);
const answers = [];
for (const question of JSON.parse(readFileSync(0, 'utf8'))) {
  if (question.complete !== undefined) {
    answers.push(await complete(question.complete));
  } else {
    const [method, ...given] = question.call;
    answers.push(await client[method](...given.map((one) => (one?.selector ? matchers(one.selector) : one ?? undefined))));
  }
}
console.log(JSON.stringify({ answers, errors, requests }));
process.exit(0); // caches of the editor's completion hold timers
