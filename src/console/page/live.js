// Whether what is shown is as it is.

import { fill, h, pill } from './dom.js';

/** How often a client is asked how its stream does; it tells nobody by itself. */
const LOOK_MS = 250;

/** Whether changes come by themselves. */
export function connection(client, signal) {
  const words = {
    open: ['Live', 'good dot'],
    connecting: ['Connecting', 'dot'],
    down: ['Reconnecting', 'warn dot'],
    refused: ['Not live', 'bad dot'],
    idle: ['Paused', 'dot'],
  };
  const element = h('span', { role: 'status', 'aria-live': 'polite' });
  let last = null;
  const look = () => {
    if (client.streamState === last) return;
    last = client.streamState;
    const [text, tone] = words[last];
    fill(element, pill(text, tone, { 'data-stream': last }));
  };
  look();
  const timer = setInterval(look, LOOK_MS);
  signal.addEventListener('abort', () => clearInterval(timer));
  return element;
}
