// A fetch that keeps what was asked, and what the stream of events said.

const EVENTS = '/api/realtime/events';

export class Recorder {
  /** @type {{method: string, path: string, headers: Record<string, string>}[]} */
  requests = [];
  /** All that streams said, one after the other. */
  heard = '';
  /** Whether streams fail. */
  isDeaf = false;

  fetch = async (address, init) => {
    const { pathname } = new URL(address);
    this.requests.push({ method: init.method, path: pathname, headers: init.headers });
    if (pathname !== EVENTS) return fetch(address, init);
    if (this.isDeaf) throw new TypeError('the test wants no stream');
    const response = await fetch(address, init);
    if (!response.ok) return response;
    const decoder = new TextDecoder();
    const keep = new TransformStream({
      transform: (chunk, controller) => {
        this.heard += decoder.decode(chunk, { stream: true });
        controller.enqueue(chunk);
      },
    });
    return new Response(response.body.pipeThrough(keep), { status: response.status, headers: response.headers });
  };

  count(path) {
    return this.requests.filter((request) => request.path === path).length;
  }

  /** Changes by a use that streams told. */
  uses() {
    return this.heard.split('"changeSource":"consumption"').length - 1;
  }

  streams() {
    return this.requests.filter((request) => request.path === EVENTS);
  }
}
