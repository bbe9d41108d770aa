// Waiting for what must come.

/** How long a test waits. What has not come by then does not come. */
export const PATIENCE_MS = 20_000;

/**
 * The first truthy answer of `ask`.
 *
 * @template T
 * @param {string} what is waited for
 * @param {() => T | Promise<T>} ask
 * @returns {Promise<T>}
 */
export async function until(what, ask) {
  const deadline = Date.now() + PATIENCE_MS;
  for (;;) {
    const answer = await ask();
    if (answer) return answer;
    if (Date.now() > deadline) throw new Error(`${what}: waited for in vain`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}
