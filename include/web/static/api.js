// The REST API. Its address is relative to the page's, because Airflow may be served below a path.
const TIMEOUT_MS = 20_000;

/** An error from the API (problem+json), or `unreachable`. */
export class Problem extends Error {
  constructor({ status = 0, code = "", detail = "", title = "", remedy = "", ...more }) {
    super(detail || title);
    Object.assign(this, { status, code, title, remedy, more });
  }

  get unreachable() {
    return this.code === "unreachable";
  }
}

export const get = (path, signal) => send("GET", path, undefined, signal);
export const post = (path, body) => send("POST", path, body ?? {});

async function send(method, path, body, signal) {
  const timeout = AbortSignal.timeout(TIMEOUT_MS);
  let answer;
  try {
    answer = await fetch(new URL(path, document.baseURI), {
      method,
      signal: signal ? AbortSignal.any([signal, timeout]) : timeout,
      headers: { Accept: "application/json", ...(body && { "Content-Type": "application/json" }) },
      body: body && JSON.stringify(body),
      cache: "no-store",
    });
  } catch {
    throw new Problem({ code: "unreachable", detail: "Airflow can't be reached." });
  }
  const content = await answer.json().catch(() => null);
  if (!answer.ok) throw problemOf(answer, content);
  if (content === null) throw new Problem({ code: "unreadable", detail: "Airflow sent a response that is not JSON." });
  return content;
}

function problemOf(answer, content) {
  const detail = typeof content?.detail === "string" ? content.detail : "";
  if (answer.status >= 502 && !content?.code) {
    return new Problem({ code: "unreachable", detail: "Airflow can't be reached." });
  }
  return new Problem({
    ...content,
    status: answer.status,
    detail: detail || `Airflow answered ${answer.status} ${answer.statusText}.`,
  });
}
