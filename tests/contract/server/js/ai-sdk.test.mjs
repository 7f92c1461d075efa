// Vercel's AI SDK by its provider for servers such as ours; the address is in LF_URL, what the models say in SAID.
import assert from "node:assert/strict";
import test from "node:test";

import { createOpenAICompatible } from "@ai-sdk/openai-compatible";
import { APICallError, embed, embedMany, generateText, Output, stepCountIs, streamText, tool } from "ai";
import { z } from "zod";

const said = JSON.parse(process.env.SAID);
const lf = createOpenAICompatible({
  name: "lf", baseURL: process.env.LF_URL, apiKey: "unused", includeUsage: true, supportsStructuredOutputs: true,
});
const asking = (model, more = {}) => ({ model: lf(model), prompt: "hi", maxRetries: 0, ...more });
const Dog = z.object({ name: z.string(), age: z.number().int() });

test("a chat is answered with its counts", async () => {
  const { text, usage, finishReason } = await generateText(asking("greeter"));
  assert.deepEqual([text, finishReason], [said.greeter, "stop"]);
  assert.equal(usage.totalTokens, usage.inputTokens + usage.outputTokens);
  assert.ok(usage.outputTokens > 1);
});

test("a chat is streamed and ends with the counts", async () => {
  const result = streamText(asking("greeter"));
  let text = "";
  for await (const piece of result.textStream) text += piece;
  assert.equal(text, said.greeter);
  assert.equal(await result.finishReason, "stop");
  assert.ok((await result.usage).outputTokens > 1);
});

test("a stream that is broken off makes place for the next", async () => {
  const controller = new AbortController();
  const { textStream } = streamText(asking("endless", { abortSignal: controller.signal, onError: () => {} }));
  for await (const piece of textStream) {
    if (piece) break;
  }
  controller.abort();
  const short = await generateText(asking("endless", { maxOutputTokens: 1, abortSignal: AbortSignal.timeout(5_000) }));
  assert.deepEqual([short.finishReason, short.usage.outputTokens], ["length", 1]);
});

test("stop strings and maxima end an answer", async () => {
  const stopped = await generateText(asking("greeter", { stopSequences: ["dem"] }));
  assert.equal(stopped.text, said.greeter.split("dem")[0]);
  const short = await generateText(asking("greeter", { maxOutputTokens: 2 }));
  assert.deepEqual([short.finishReason, short.usage.outputTokens], ["length", 2]);
});

test("thinking is told apart", async () => {
  const { text, reasoningText } = await generateText(asking("thinker"));
  assert.deepEqual([text, reasoningText], ["Blue.", "Let me see."]);
  const streamed = streamText(asking("thinker"));
  assert.deepEqual([await streamed.text, await streamed.reasoningText], ["Blue.", "Let me see."]);
});

test("an answer is held to a schema", async () => {
  const { output } = await generateText(asking("agent", { output: Output.object({ schema: Dog }) }));
  assert.deepEqual(output, { name: said.string, age: 3 });
  const streamed = streamText(asking("agent", { output: Output.object({ schema: Dog }) }));
  let last;
  for await (const partial of streamed.partialOutputStream) last = partial;
  assert.deepEqual(last, { name: said.string, age: 3 });
});

test("a tool is called and its result read", async () => {
  for (const ask of [generateText, streamText]) {
    const asked = [];
    const get_weather = tool({
      inputSchema: z.object({ location: z.string() }),
      execute: async ({ location }) => { asked.push(location); return { sky: "sunny" }; },
    });
    const result = await ask(asking("agent", { tools: { get_weather }, stopWhen: stepCountIs(3) }));
    assert.equal(await result.text, said.agent);
    assert.equal((await result.steps).length, 2);
    assert.deepEqual(asked, ["San Francisco"]);
  }
});

test("a tool call can be required", async () => {
  const get_weather = tool({ inputSchema: z.object({ location: z.string() }) });
  for (const toolChoice of ["required", { type: "tool", toolName: "get_weather" }]) {
    const { toolCalls, finishReason } = await generateText(asking("agent", { tools: { get_weather }, toolChoice }));
    assert.equal(finishReason, "tool-calls");
    assert.deepEqual(toolCalls[0].input, { location: said.string });
  }
});

test("texts are continued", async () => {
  const { text } = await generateText({ model: lf.completionModel("greeter"), prompt: "abc", maxRetries: 0 });
  assert.equal(text, said.greeter);
});

test("texts become vectors", async () => {
  const model = lf.embeddingModel("embedder");
  const { embeddings } = await embedMany({ model, values: ["one", "two"] });
  const { embedding } = await embed({ model, value: "two" });
  assert.equal(embeddings.length, 2);
  embedding.forEach((number, index) => assert.ok(Math.abs(number - embeddings[1][index]) < 1e-4));
});

test("errors are of the client's types", async () => {
  await assert.rejects(generateText(asking("nobody")), (error) => {
    assert.ok(APICallError.isInstance(error));
    assert.deepEqual([error.statusCode, error.isRetryable], [404, false]);
    assert.match(error.message, /nobody/);
    return true;
  });
});
