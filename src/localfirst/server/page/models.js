// What is known of the models: in words, and as a list to choose from.

import { make } from "./markdown.js";

const PLACES = { cpu: "the CPU", gpu: "the GPU", igpu: "the integrated GPU", npu: "the NPU" };
const FITS = {
  gpu: "fits the GPU's memory",
  split: "fits, partly on the GPU",
  cpu: "fits",
  tight: "fits barely",
  no: "does not fit now",
};
const round = (number, digits) => Number(number.toPrecision(digits)).toLocaleString("en");

export function sayBytes(count) {
  const power = Math.min(4, Math.floor(Math.log10(Math.max(1, count)) / 3));
  return `${round(count / 1000 ** power, 3)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

export const sayRate = (tps) => `${round(tps, tps < 100 ? 3 : Math.ceil(Math.log10(tps)))} tokens/s`;

/** What was measured, else the range that is expected; an estimate has no more than two digits. */
export function saySpeed({ measured, low, high } = {}) {
  if (measured) return `${sayRate(measured)}, measured`;
  if (!low || !high) return "speed not known yet";
  const [least, most] = [round(low, 2), round(high, 2)];
  return `about ${least === most ? least : `${least} to ${most}`} tokens/s`;
}

export const sayState = (model) => (model.loaded ? "loaded" : model.state === "loading" ? "loading" : "not loaded");

export const isChat = (model) => model.task === "chat";

export const findPlace = (model) => PLACES[model.placement] ?? "?";

function sayFit({ verdict, need_bytes: need }) {
  if (need) return `${FITS[verdict]}, needs ${sayBytes(need)}`;
  return verdict === "no" ? FITS.no : "not known whether it fits";
}

function describe(model) {
  if (!model.runtime) return ["no engine on this machine loads it"];
  return [
    !model.title || model.title.toLowerCase() === model.id ? "" : model.title,
    model.size_bytes ? sayBytes(model.size_bytes) : "",
    model.quantization,
    `${model.runtime} on ${findPlace(model)}`,
    sayFit(model),
    saySpeed(model.decode_tps),
  ].filter(Boolean);
}

/** Fill a form with models to choose from; `choose` is told the name, and whether it was meant to be the last word. */
export function listModels(form, models, chosen, choose) {
  const known = JSON.stringify(models);
  if (form.known === known) { // nothing moves under a pointer that is about to choose
    for (const radio of form.querySelectorAll("input")) radio.checked = radio.value === chosen;
    return;
  }
  form.known = known;
  const focused = form.contains(document.activeElement) ? document.activeElement.value : undefined;
  const group = make("fieldset", {}, make("legend", { class: "hidden" }, "Model"));
  for (const model of models) group.append(makeRow(form.id, model, model.id === chosen, choose));
  form.replaceChildren(group);
  if (focused) form.querySelector(`input[value="${CSS.escape(focused)}"]`)?.focus();
}

function makeRow(name, model, checked, choose) {
  const radio = make("input", { type: "radio", name, value: model.id, checked });
  radio.addEventListener("change", () => choose(model.id, false));
  const facts = describe(model).map((fact) => make("span", {}, fact));
  const trouble = model.verdict === "no" || model.verdict === "tight" || !model.runtime;
  const row = make(
    "label",
    { class: "offer" },
    radio,
    make("span", { class: "title", dir: "auto" }, model.id),
    make("span", { class: `state ${sayState(model).replace(" ", "-")}` }, sayState(model)),
    make("span", { class: `facts${trouble ? " trouble" : ""}` }, ...facts),
  );
  // A click on a row is a click on its radio as well, which has no detail where a key made it.
  radio.addEventListener("click", (event) => event.detail > 0 && choose(model.id, true));
  radio.addEventListener("keydown", (event) => event.key === "Enter" && (event.preventDefault(), choose(model.id, true)));
  return row;
}
