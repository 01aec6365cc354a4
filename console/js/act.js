// What somebody does: one act at a time, and what the service refused of it.
import { asProblem } from './api.js';
import { useRef, useState } from './view.js';

/** `act(work)` does it, unless another one is at work; `problem` is why the last one failed, until `forget` is called. */
export function useAct() {
  const [{ busy, problem }, setState] = useState({ busy: false });
  // Beside the state, which is drawn later: a second click comes sooner.
  const working = useRef(false);
  const act = async work => {
    if (working.current) return;
    working.current = true;
    setState({ busy: true });
    let refused;
    try {
      await work();
    } catch (error) {
      refused = asProblem(error);
    }
    working.current = false;
    setState({ busy: false, problem: refused });
  };
  return { act, busy, problem, forget: () => setState(was => ({ busy: was.busy })) };
}
