// A line between client and gateway that can be cut.

import { once } from 'node:events';
import net from 'node:net';

export class Proxy {
  /** Where it leads. */
  url;
  #sockets = new Set();
  #isCut = false;
  #server = net.createServer((near) => this.#connect(near));

  constructor(gatewayUrl) {
    this.gatewayUrl = gatewayUrl;
  }

  async start() {
    this.#server.listen(0, '127.0.0.1');
    await once(this.#server, 'listening');
    this.url = `http://127.0.0.1:${this.#server.address().port}`;
    return this;
  }

  /** Breaks every connection, and those that come. */
  cut() {
    this.#isCut = true;
    for (const socket of this.#sockets) socket.destroy();
  }

  mend() {
    this.#isCut = false;
  }

  async close() {
    this.cut();
    this.#server.close();
    await once(this.#server, 'close');
  }

  #connect(near) {
    if (this.#isCut) {
      near.destroy();
      return;
    }
    const { hostname, port } = new URL(this.gatewayUrl);
    const far = net.connect(Number(port), hostname);
    for (const socket of [near, far]) {
      this.#sockets.add(socket);
      socket.on('error', () => socket.destroy());
      socket.on('close', () => {
        this.#sockets.delete(socket);
        near.destroy();
        far.destroy();
      });
    }
    near.pipe(far);
    far.pipe(near);
  }
}
