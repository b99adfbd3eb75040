// A button that asks the API for something, once at a time, and shows the result.
import { useState } from "preact/hooks";

/** Return `{ run, busy, problem }`; *ask* is an async function. */
export function useAction(ask) {
  const [state, setState] = useState({ busy: false, problem: null });
  async function run(...given) {
    if (state.busy) return;
    setState({ busy: true, problem: null });
    try {
      await ask(...given);
      setState({ busy: false, problem: null });
    } catch (problem) {
      setState({ busy: false, problem });
    }
  }
  return { run, ...state };
}
