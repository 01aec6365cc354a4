// What the console makes of responses, also of those that are not the service's.
import { get, Problem } from '../js/api.js';

/** The problem of a request that has this response. */
async function problemOf(body, init) {
  const before = globalThis.fetch;
  globalThis.fetch = async () => new Response(body, init);
  try {
    await get('/analytics/v1/me');
    return undefined;
  } catch (problem) {
    return problem;
  } finally {
    globalThis.fetch = before;
  }
}

export default equal => ({
  async what_is_not_the_services_is_as_no_response() {
    for (const body of ['<!doctype html><title>Sign in to the network</title>', '{"series": [', 'null', '"x"', '']) {
      const problem = await problemOf(body, { status: 200, headers: { 'Content-Type': 'text/html' } });
      equal([problem instanceof Problem, problem?.status, problem?.errors], [true, 0, []], body);
    }
    const gateway = await problemOf('<html>Bad gateway</html>', { status: 502 });
    equal([gateway.status, gateway.isAway, gateway.errors], [502, true, []]);
    const odd = await problemOf('null', { status: 500 });
    equal([odd.status, odd.errors], [500, []]);
  },
});
