// The chat: what was said, what is being said, and what the page shows of both.

import { copyText, inline, make, show } from "./markdown.js";
import { findPlace, isChat, listModels, sayRate, sayState } from "./models.js";
import { Refused, Unreachable, get, setKey, stream } from "./talk.js";

const $ = (id) => document.getElementById(id);
const CONVERSATION = "lf.conversation";
const SETTINGS = "lf.settings";
const OFFERED = 6; // models that an empty page shows
const LOOK_AGAIN_MS = 1500;
const STARTER = "starter";

function recall(storage, name, otherwise) {
  try {
    return JSON.parse(storage.getItem(name)) ?? otherwise;
  } catch {
    return otherwise;
  }
}

function keep(storage, name, value) {
  try {
    storage.setItem(name, JSON.stringify(value));
  } catch {
    // full or forbidden: it lasts as long as the page
  }
}

const settings = recall(localStorage, SETTINGS, {}); // model, system, temperature, longest
const messages = recall(sessionStorage, CONVERSATION, []); // role, content; of answers also how they came about
let models = [];
let running; // what stops the answer that is being given
let editing = false;

const keepMessages = () => keep(sessionStorage, CONVERSATION, messages);
const keepSettings = () => keep(localStorage, SETTINGS, settings);
const findModel = (name) => models.find((one) => one.id === name);

// What the server has

async function look() {
  try {
    models = (await get("/v1/models")).data.filter(isChat);
    models.sort((one, other) => Number(other.loaded) - Number(one.loaded));
    tell();
  } catch (error) {
    await explain(error);
  }
  if (!findModel(settings.model)) settings.model = findBest()?.id;
  showModels();
}

/** What nobody has chosen yet: what is loaded, or else the largest that fits. */
function findBest() {
  const fitting = models.filter((one) => one.runtime && !["no", "tight"].includes(one.verdict));
  fitting.sort((one, other) => (other.size_bytes ?? 0) - (one.size_bytes ?? 0));
  return models.find((one) => one.loaded) ?? fitting[0] ?? models[0];
}

function showModels() {
  const model = findModel(settings.model);
  $("chosen").textContent = model ? model.id : "No model";
  $("chosen-state").textContent = model ? `${model.loaded || model.state === "loading" ? sayState(model) : `on ${findPlace(model)}`}` : "";
  listModels($("offers"), models.slice(0, OFFERED), settings.model, choose);
  listModels($("shelf"), models, settings.model, choose);
  $("all").hidden = models.length <= OFFERED;
  $("all").textContent = `All ${models.length} models`;
  $("pull").hidden = models.some((one) => one.id !== STARTER);
  $("welcome-text").textContent = models.length
    ? "It is answered by a model on this machine, and stays on it. A model is loaded when it is first asked."
    : "There is no model on this machine that answers.";
  refresh();
}

function choose(name, isLast) {
  settings.model = name;
  keepSettings();
  for (const radio of document.querySelectorAll("input[type=radio]")) radio.checked = radio.value === name;
  const model = findModel(name);
  $("chosen").textContent = model.id;
  $("chosen-state").textContent = model.loaded ? "loaded" : `on ${findPlace(model)}`;
  if (!isLast) return;
  $("models").close();
  $("question").focus();
}

// What keeps the server from answering

function tell(text = "", label = "", act = undefined) {
  $("notice").hidden = !text;
  $("notice-text").replaceChildren(...inline(text));
  $("notice-act").hidden = !label;
  $("notice-act").textContent = label;
  $("notice-act").onclick = act;
}

/** Say what went wrong before anything was asked, and get over it where that can be done. */
async function explain(error) {
  if (error instanceof Refused && error.status === 401) {
    if (await askKey()) await look();
    else tell("This server answers only who shows its key.", "Enter the key", look);
  } else if (error instanceof Unreachable) {
    tell(error.message);
    waitForServer();
  } else tell(error.message, "Try again", look);
}

let waiting = false;

async function waitForServer() {
  if (waiting) return;
  waiting = true;
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, LOOK_AGAIN_MS));
    if (await get("/health").catch(() => false)) break;
  }
  waiting = false;
  await look();
}

/** Whether a key was given; it is tried before the dialog closes. */
function askKey() {
  const dialog = $("lock");
  $("lock-error").textContent = "";
  $("key").value = "";
  if (!dialog.open) dialog.showModal();
  return new Promise((resolve) => {
    dialog.onclose = () => resolve(dialog.returnValue === "given");
    $("unlock").onsubmit = async (event) => {
      event.preventDefault();
      setKey($("key").value.trim());
      try {
        await get("/v1/models");
        dialog.close("given");
      } catch (error) {
        setKey("");
        $("lock-error").textContent = error.status === 401 ? "The server has another key." : error.message;
        $("key").select();
      }
    };
  });
}

// What was said

const isAnswer = (message) => message?.role === "assistant";

/** What the model is given: no answers that have no words, nor the questions that got them. */
function makeHistory() {
  const said = [];
  for (const message of messages) {
    if (!isAnswer(message)) {
      if (said.at(-1)?.role === "user") said.pop();
      said.push({ role: "user", content: message.content });
    } else if (message.content) said.push({ role: "assistant", content: message.content });
    else said.pop();
  }
  return settings.system ? [{ role: "system", content: settings.system }, ...said] : said;
}

function makeRequest() {
  const body = { model: settings.model, messages: makeHistory(), stream: true, stream_options: { include_usage: true } };
  if (settings.temperature !== undefined) body.temperature = settings.temperature;
  if (settings.longest !== undefined) body.max_tokens = settings.longest;
  return body;
}

const button = (label, act, name = label) => {
  const element = make("button", { type: "button", class: "quiet", "aria-label": name }, label);
  element.addEventListener("click", () => act(element));
  return element;
};

function drawQuestion(message) {
  const text = make("div", { class: "said", dir: "auto" }, message.content);
  const tools = make("div", { class: "acts last" }, button("Edit", edit, "Edit this message"));
  return make("article", { class: "question", "aria-label": "You" }, text, tools);
}

/** An answer's place on the page; its `update` shows what has come, its `end` what is to be said of the whole. */
function drawAnswer(message) {
  const thought = make("div", { class: "thought" });
  const thoughtTitle = make("summary", {});
  const folded = make("details", { hidden: true }, thoughtTitle, thought);
  const text = make("div", { class: "text" });
  const status = make("p", { class: "status soft", role: "status", hidden: true });
  const error = make("p", { class: "error", role: "alert", hidden: true, dir: "auto" });
  const stats = make("p", { class: "fine stats" });
  const acts = make("div", { class: "acts" });
  const article = make(
    "article",
    { class: "answer", "aria-label": `Answer by ${message.name}` },
    ...[folded, text, status, error, make("div", { class: "below" }, stats, acts)],
  );
  article.update = () => {
    folded.hidden = !message.reasoning;
    thoughtTitle.textContent = message.content || message.stats ? sayThought(message) : "Thinking";
    if (message.reasoning) show(thought, message.reasoning);
    return show(text, message.content);
  };
  article.say = (said, more = "") => {
    status.hidden = !said;
    if (status.firstChild?.textContent !== said) status.replaceChildren(said, make("span", { "aria-hidden": "true" }));
    status.lastChild.textContent = more;
  };
  article.end = () => {
    article.update();
    article.say("");
    article.classList.remove("going");
    error.hidden = !message.error;
    error.replaceChildren(...inline(message.error ?? ""));
    stats.textContent = message.stats ?? "";
    acts.replaceChildren(
      ...(message.content ? [button("Copy", (one) => copyText(message.content, one), "Copy answer")] : []),
      button(message.error ? "Try again" : "Regenerate", regenerate),
    );
    acts.lastChild.classList.add("last");
  };
  return article;
}

const sayThought = (message) => (message.thoughtMs >= 1000 ? `Thought for ${Math.round(message.thoughtMs / 1000)} s` : "Thought");

function draw() {
  $("talk").replaceChildren(
    ...messages.map((message) => {
      if (!isAnswer(message)) return drawQuestion(message);
      const article = drawAnswer(message);
      article.end();
      return article;
    }),
  );
  refresh();
}

/** What depends on whether there is a conversation, and whether it goes on. */
function refresh() {
  $("welcome").hidden = messages.length > 0;
  $("fresh").disabled = !messages.length;
  $("send").disabled = !models.length || !$("question").value.trim();
  $("editing").hidden = !editing;
  document.body.classList.toggle("editing-last", editing);
  document.title = messages.length ? `${messages[0].content.slice(0, 40)} · localfirst` : "localfirst";
}

// What is being said

const seconds = (ms) => `${(ms / 1000).toFixed(ms < 9950 ? 1 : 0)} s`;

/** Statistics of an answer, from its own counts where they came. */
function count(message, { usage, timings, loadedFirst, stopped, reason, ms }) {
  const rate = timings?.decode_tps;
  return [
    usage && `${usage.completion_tokens.toLocaleString("en")} tokens`,
    rate && sayRate(rate),
    usage && timings?.first_token_s && `first token after ${seconds(timings.first_token_s * 1000)}`,
    loadedFirst && timings?.load_s && `loaded in ${seconds(timings.load_s * 1000)}`,
    stopped && `stopped after ${seconds(ms)}`,
    reason === "length" && "cut off: the longest answer or the context is reached",
    message.name,
  ]
    .filter(Boolean)
    .join(" · ");
}

/** Say what an answer waits for, until it comes. */
function watch(article, model, begun) {
  let known = model;
  const timer = setInterval(() => {
    const what = known.loaded ? "Waiting for the first word" : `Loading ${model.id}`;
    article.say(what, ` ${seconds(performance.now() - begun)}`);
  }, 100);
  const looker = setInterval(async () => {
    if (!known.loaded) known = await get(`/v1/models/${encodeURIComponent(model.id)}`).catch(() => known);
  }, LOOK_AGAIN_MS);
  return () => {
    clearInterval(timer);
    clearInterval(looker);
    article.say("");
  };
}

/** Tells a screen reader each block of an answer once it is whole. */
function announce(article, blocks, from) {
  for (const block of [...article.querySelector(".text").children].slice(from, blocks)) {
    const said = block.matches(".code") ? `Code, ${block.querySelector("code").textContent.split("\n").length} lines` : block.textContent;
    $("announcer").append(make("p", { dir: "auto" }, said));
  }
  return Math.max(from, blocks);
}

async function answer() {
  const request = makeRequest();
  const controller = new AbortController();
  const begun = performance.now();
  const model = findModel(settings.model);
  const message = { role: "assistant", content: "", reasoning: "", name: model.id };
  const end = { ms: 0, loadedFirst: !model.loaded };
  const article = drawAnswer(message);
  article.classList.add("going");
  running = controller;
  messages.push(message);
  $("talk").append(article);
  $("announcer").replaceChildren();
  $("send").hidden = true;
  $("stop").hidden = false;
  toEnd();
  let unwatch = watch(article, model, begun);
  let told = 0;
  let frame = 0;
  const paint = () => {
    frame = 0;
    const follows = isAtEnd();
    told = announce(article, article.update() - 1, told);
    if (follows) toEnd();
  };
  try {
    for await (const { choices, usage, timings } of stream("/v1/chat/completions", request, controller.signal)) {
      if (usage) Object.assign(end, { usage, timings });
      const { delta = {}, finish_reason: reason } = choices[0] ?? {};
      if (reason) end.reason = reason;
      if (!delta.content && !delta.reasoning_content) continue;
      unwatch?.();
      unwatch = undefined;
      if (delta.content && message.reasoning && !message.content) message.thoughtMs = performance.now() - begun;
      message.reasoning += delta.reasoning_content ?? "";
      message.content += delta.content ?? "";
      frame ||= requestAnimationFrame(paint);
    }
  } catch (error) {
    if (controller.signal.aborted) end.stopped = true;
    else message.error = error.message;
    if (error.code === "server_stopping") explain(new Unreachable());
    else if (error.status === 401 || error instanceof Unreachable) explain(error);
  }
  unwatch?.();
  cancelAnimationFrame(frame);
  end.ms = performance.now() - begun;
  message.stats = message.error && !message.content ? "" : count(message, end);
  const follows = isAtEnd();
  article.end();
  announce(article, Infinity, told);
  setTimeout(() => running || $("announcer").replaceChildren(), 2000); // what was read out is on the page as well
  running = undefined;
  const hadFocus = document.activeElement === $("stop");
  $("send").hidden = false;
  $("stop").hidden = true;
  if (hadFocus) $("question").focus();
  if (follows) toEnd();
  keepMessages();
  refresh();
  if (!message.error) look();
}

const stop = () => running?.abort();

async function send() {
  const text = $("question").value.trim();
  if (!text || running || !findModel(settings.model)) return;
  if (editing) dropFrom(messages.findLastIndex((one) => one.role === "user"));
  editing = false;
  messages.push({ role: "user", content: text });
  $("question").value = "";
  grow();
  $("talk").append(drawQuestion(messages.at(-1)));
  keepMessages();
  refresh();
  await answer();
}

function dropFrom(index) {
  messages.splice(index);
  while ($("talk").children.length > index) $("talk").lastChild.remove();
}

async function regenerate() {
  if (running || !findModel(settings.model)) return;
  leaveEdit();
  dropFrom(messages.findLastIndex((one) => one.role === "user") + 1);
  $("question").focus();
  await answer();
}

function edit() {
  if (running) return;
  editing = true;
  $("question").value = messages.findLast((one) => one.role === "user").content;
  grow();
  refresh();
  $("question").focus();
}

function leaveEdit() {
  if (editing) $("question").value = "";
  editing = false;
  grow();
  refresh();
}

async function begin() {
  stop();
  while (running) await new Promise((resolve) => setTimeout(resolve, 10));
  dropFrom(0);
  leaveEdit();
  keepMessages();
  $("question").focus();
}

// The page itself

const isAtEnd = () => innerHeight + scrollY >= document.documentElement.scrollHeight - 80;
const toEnd = () => scrollTo(0, document.documentElement.scrollHeight);

function grow() {
  const area = $("question");
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight}px`;
  refresh();
}

function showSettings() {
  $("system").value = settings.system ?? "";
  $("temperature").value = settings.temperature ?? "";
  $("longest").value = settings.longest ?? "";
  $("settings").showModal();
}

function takeSettings() {
  const number = (id) => ($(id).value !== "" && $(id).validity.valid ? $(id).valueAsNumber : undefined);
  Object.assign(settings, { system: $("system").value.trim() || undefined, temperature: number("temperature"), longest: number("longest") });
  keepSettings();
}

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
$("question").addEventListener("input", grow);
$("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing || matchMedia("(pointer: coarse)").matches) return;
  event.preventDefault();
  send();
});
document.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || document.querySelector("dialog[open]")) return;
  if (running) stop();
  else if (editing) leaveEdit();
});
$("stop").addEventListener("click", stop);
$("fresh").addEventListener("click", begin);
$("keep").addEventListener("click", () => {
  leaveEdit();
  $("question").focus();
});
for (const id of ["choose", "all"]) {
  $(id).addEventListener("click", () => {
    look();
    $("models").showModal();
    $("shelf").querySelector("input:checked")?.focus();
  });
}
$("set").addEventListener("click", showSettings);
$("settings").addEventListener("close", takeSettings);
$("wishes").addEventListener("submit", (event) => {
  event.preventDefault();
  $("settings").close();
});
$("forget").addEventListener("click", async () => {
  for (const id of ["system", "temperature", "longest"]) $(id).value = "";
  $("settings").close();
  localStorage.removeItem(SETTINGS);
  setKey("");
  await begin();
});
for (const form of [$("offers"), $("shelf")]) form.addEventListener("submit", (event) => event.preventDefault());
for (const closer of document.querySelectorAll("dialog .close")) closer.addEventListener("click", () => closer.closest("dialog").close(""));
for (const dialog of document.querySelectorAll("dialog")) {
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close("")); // beside it
}
addEventListener("scroll", () => ($("down").hidden = isAtEnd()), { passive: true });
$("down").addEventListener("click", toEnd);
addEventListener("pagehide", keepMessages); // with what has come of an answer
document.addEventListener("visibilitychange", () => document.hidden || running || waiting || look());

draw();
grow();
toEnd();
look();
