// Talking to the server: questions with the token where one is needed, and the stream of what is new.
// EventSource cannot send a token, so the stream is read with fetch; an event is a few lines of text.

const KEY = "holdfast-token";

export class Refused extends Error {}

export class Failed extends Error {
  constructor(status, detail) {
    super(detail);
    this.status = status;
  }
}

export function keepToken(token) {
  sessionStorage.setItem(KEY, token);
}

export function hasToken() {
  return sessionStorage.getItem(KEY) !== null;
}

async function request(path, options = {}) {
  const token = sessionStorage.getItem(KEY);
  const headers = token ? { ...options.headers, Authorization: `Bearer ${token}` } : options.headers;
  const response = await fetch(path, { ...options, headers });
  if (response.status === 401) throw new Refused();
  if (!response.ok) {
    const problem = await response.json().catch(() => ({ detail: response.statusText }));
    throw new Failed(response.status, problem.detail);
  }
  return response;
}

export async function ask(path, query = {}) {
  const given = Object.entries(query).filter(([, value]) => value !== "" && value !== null);
  const asked = new URLSearchParams(given).toString();
  const response = await request(asked ? `${path}?${asked}` : path, { headers: { Accept: "application/json" } });
  return response.json();
}

// Calls hear(name, value) for each event until the signal aborts or the connection ends.
export async function listen(customer, signal, hear) {
  const path = customer ? `events?${new URLSearchParams({ customer })}` : "events";
  const response = await request(path, { signal });
  const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const events = (rest + value).split("\n\n");
    rest = events.pop();
    for (const event of events) {
      const [first, second] = event.split("\n");
      hear(first.slice("event: ".length), JSON.parse(second.slice("data: ".length)));
    }
  }
}
