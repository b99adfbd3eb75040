// Data from the API, requested once or polled.
import { useEffect, useRef, useState } from "preact/hooks";
import { get } from "./api.js";

const BUSY_MS = 2_000; // a scan is running
const IDLE_MS = 30_000;
const RETRY_MS = 5_000; // the server can't be reached

/** Return `{ data, problem }` of *path*, requested again when it or *version* changes. */
export function useAnswer(path, version) {
  const [answer, setAnswer] = useState({ data: null, problem: null });
  useEffect(() => {
    const ended = new AbortController();
    get(path, ended.signal).then(
      (data) => setAnswer({ data, problem: null }),
      (problem) => ended.signal.aborted || setAnswer({ data: null, problem }),
    );
    return () => ended.abort();
  }, [path, version]);
  return answer;
}

/**
 * Return `{ data, problem, settled, reload }` of *path*, kept up to date.
 *
 * Requests never overlap, and none is sent while the tab is hidden. After a failure, `data` is that
 * of the last successful request. `settled` is false while `data` belongs to an earlier path.
 */
export function usePolled(path, isBusy) {
  const [answer, setAnswer] = useState({ path: null, data: null, problem: null });
  const poll = useRef(null);

  useEffect(() => {
    poll.current = startPolling(path, isBusy, (data, problem) =>
      setAnswer((last) => ({
        path,
        data: data ?? (last.path === path ? last.data : null),
        problem,
      })),
    );
    return poll.current.stop;
  }, [path]);

  return { ...answer, settled: answer.path === path, reload: () => poll.current.load() };
}

function startPolling(path, isBusy, update) {
  const ended = new AbortController();
  let timer;
  let underWay = false;
  let again = false;

  async function load() {
    clearTimeout(timer);
    if (underWay) {
      again = true;
      return;
    }
    underWay = true;
    let pause_ms = IDLE_MS;
    try {
      const data = await get(path, ended.signal);
      pause_ms = isBusy(data) ? BUSY_MS : IDLE_MS;
      if (!ended.signal.aborted) update(data, null);
    } catch (problem) {
      pause_ms = problem.unreachable ? RETRY_MS : IDLE_MS;
      if (!ended.signal.aborted) update(null, problem);
    }
    underWay = false;
    if (ended.signal.aborted) return;
    if (again) {
      again = false;
      load();
    } else if (!document.hidden) {
      timer = setTimeout(load, pause_ms);
    }
  }

  const onVisibility = () => (document.hidden ? clearTimeout(timer) : load());
  document.addEventListener("visibilitychange", onVisibility);
  addEventListener("online", load);
  load();
  return {
    load,
    stop() {
      ended.abort();
      clearTimeout(timer);
      document.removeEventListener("visibilitychange", onVisibility);
      removeEventListener("online", load);
    },
  };
}
