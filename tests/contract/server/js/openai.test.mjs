// OpenAI's own client in JavaScript; the server's address is in LF_URL, and what its models say in SAID.
import assert from "node:assert/strict";
import test from "node:test";

import OpenAI from "openai";
import { zodResponseFormat } from "openai/helpers/zod";
import { z } from "zod";

const said = JSON.parse(process.env.SAID);
const client = new OpenAI({ baseURL: process.env.LF_URL, apiKey: "unused", maxRetries: 0, timeout: 60_000 });
const messages = [{ role: "user", content: "hi" }];
const weather = {
  type: "object",
  properties: { location: { type: "string" } },
  required: ["location"],
  additionalProperties: false,
};

test("models are listed and shown", async () => {
  const names = [];
  for await (const model of client.models.list()) names.push(model.id);
  assert.ok(["starter", "greeter", "embedder"].every((name) => names.includes(name)), String(names));
  assert.equal((await client.models.retrieve("greeter")).id, "greeter");
});

test("a chat is answered with its counts", async () => {
  const answer = await client.chat.completions.create({ model: "greeter", messages });
  assert.equal(answer.choices[0].message.content, said.greeter);
  assert.equal(answer.choices[0].finish_reason, "stop");
  assert.equal(answer.usage.total_tokens, answer.usage.prompt_tokens + answer.usage.completion_tokens);
  assert.ok(answer.usage.completion_tokens > 1);
  assert.ok(answer._request_id);
});

test("a chat is streamed and ends with the counts", async () => {
  const stream = await client.chat.completions.create({
    model: "greeter", messages, stream: true, stream_options: { include_usage: true },
  });
  let text = "", usage;
  for await (const chunk of stream) {
    text += chunk.choices[0]?.delta.content ?? "";
    usage = chunk.usage ?? usage;
  }
  assert.equal(text, said.greeter);
  assert.ok(usage.completion_tokens > 1);
});

test("the client's own stream puts the same answer together", async () => {
  const stream = client.chat.completions.stream({ model: "greeter", messages });
  assert.equal((await stream.finalChatCompletion()).choices[0].message.content, said.greeter);
});

test("a stream that is broken off makes place for the next", async () => {
  const asked = { model: "endless", messages, max_tokens: 60_000 };
  const stream = await client.chat.completions.create({ ...asked, stream: true });
  for await (const chunk of stream) {
    if (chunk.choices[0].delta.content) break;
  }
  const answer = await client.chat.completions.create({ ...asked, max_tokens: 1 }, { timeout: 5_000 });
  assert.equal(answer.usage.completion_tokens, 1);
});

test("stop strings and maxima end an answer", async () => {
  const stopped = await client.chat.completions.create({ model: "greeter", messages, stop: ["dem"] });
  assert.equal(stopped.choices[0].message.content, said.greeter.split("dem")[0]);
  const short = await client.chat.completions.create({ model: "greeter", messages, max_completion_tokens: 2 });
  assert.deepEqual([short.choices[0].finish_reason, short.usage.completion_tokens], ["length", 2]);
});

test("an answer is held to a schema", async () => {
  const Dog = z.object({ name: z.string(), age: z.number().int() });
  const answer = await client.chat.completions.parse({
    model: "agent", messages, response_format: zodResponseFormat(Dog, "dog"),
  });
  assert.deepEqual(answer.choices[0].message.parsed, { name: said.string, age: 3 });
});

test("a tool is called and its result read", async () => {
  const asked = [];
  const run = client.chat.completions.runTools({
    model: "agent",
    messages,
    tools: [{
      type: "function",
      function: {
        name: "get_weather", parameters: weather, parse: JSON.parse,
        function: ({ location }) => { asked.push(location); return "sunny"; },
      },
    }],
  });
  assert.equal(await run.finalContent(), said.agent);
  assert.deepEqual(asked, ["San Francisco"]);
});

test("a tool call is streamed and can be required", async () => {
  const tools = [{ type: "function", function: { name: "get_weather", parameters: weather } }];
  for (const [tool_choice, location] of [["auto", "San Francisco"], ["required", said.string]]) {
    const stream = client.chat.completions.stream({ model: "agent", messages, tools, tool_choice });
    const [choice] = (await stream.finalChatCompletion()).choices;
    assert.equal(choice.finish_reason, "tool_calls");
    assert.deepEqual(JSON.parse(choice.message.tool_calls[0].function.arguments), { location });
  }
});

test("texts are continued", async () => {
  const answer = await client.completions.create({ model: "greeter", prompt: "abc" });
  assert.equal(answer.choices[0].text, said.greeter);
});

test("texts become vectors", async () => {
  const { data } = await client.embeddings.create({ model: "embedder", input: ["one", "two"] });
  assert.equal(data.length, 2);
  for (const { embedding } of data) {
    const length = Math.hypot(...embedding);
    assert.ok(Math.abs(length - 1) < 1e-4, String(length));
  }
});

test("a response is given and streamed", async () => {
  const response = await client.responses.create({ model: "greeter", input: "hi" });
  assert.equal(response.output_text, said.greeter);
  const next = await client.responses.stream({
    model: "greeter", input: "and now?", previous_response_id: response.id,
  }).finalResponse();
  assert.equal(next.output_text, said.greeter);
  assert.ok(next.usage.input_tokens > response.usage.input_tokens + response.usage.output_tokens);
});

test("errors are of the client's types", async () => {
  await assert.rejects(client.chat.completions.create({ model: "nobody", messages }), (error) => {
    assert.ok(error instanceof OpenAI.NotFoundError);
    assert.deepEqual([error.code, error.param], ["model_not_found", "model"]);
    return true;
  });
  await assert.rejects(client.chat.completions.create({ model: "greeter", messages, temperature: 3 }), (error) => {
    assert.ok(error instanceof OpenAI.BadRequestError);
    assert.equal(error.param, "temperature");
    return true;
  });
});
