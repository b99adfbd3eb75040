// The request of a button: one at a time.
import { useState } from "preact/hooks";

/** Return `{ run, busy, problem }`; *send* is an async function. */
export function useAction(send) {
  const [state, setState] = useState({ busy: false, problem: null });
  async function run() {
    if (state.busy) return;
    setState({ busy: true, problem: null });
    try {
      await send();
      setState({ busy: false, problem: null });
    } catch (problem) {
      setState({ busy: false, problem });
    }
  }
  return { run, ...state };
}
