// Requests to the server that this page is from.

const KEY = "lf.key";

/** The server answered, and not with what was asked for. */
export class Refused extends Error {
  constructor(status, error) {
    super(error?.message || `The server answered with status ${status}`);
    this.status = status;
    this.code = error?.code ?? "";
  }
}

/** Nobody answered. */
export class Unreachable extends Error {
  constructor() {
    super("The server does not answer. Is `lf serve` still running?");
  }
}

export const setKey = (key) => (key ? sessionStorage.setItem(KEY, key) : sessionStorage.removeItem(KEY));

async function request(path, { body, signal } = {}) {
  const headers = {};
  const key = sessionStorage.getItem(KEY);
  if (key) headers.authorization = `Bearer ${key}`;
  if (body) headers["content-type"] = "application/json";
  const options = { method: body ? "POST" : "GET", headers, signal, body: body && JSON.stringify(body), cache: "no-store" };
  const response = await fetch(path, options).catch((error) => {
    throw signal?.aborted ? error : new Unreachable();
  });
  if (response.ok) return response;
  const told = await response.json().catch(() => ({}));
  throw new Refused(response.status, told.error);
}

export const get = async (path) => (await request(path)).json();

/** The values of a stream of server-sent events, until `[DONE]`. */
export async function* stream(path, body, signal) {
  const reader = (await request(path, { body, signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw signal.aborted ? error : new Unreachable();
    });
    if (done) throw new Unreachable(); // a stream that is whole says so
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      if (!event.startsWith("data: ")) continue;
      const data = event.slice(6);
      if (data === "[DONE]") return;
      const said = JSON.parse(data);
      if (said.error) throw new Refused(500, said.error);
      yield said;
    }
  }
}
