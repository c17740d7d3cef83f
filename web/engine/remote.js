// @ts-check
/** The engine of another tab, spoken to like a worker. That the tab is gone shows at its lock (owner.js), not here. */

import { CHANNEL } from "./owner.js";

const PATIENCE = 1500; // ms in which an owner says that it is there; a tab that the browser has frozen does not

export class Remote {
  /** @param {BroadcastChannel} channel @param {string} me @param {string} owner */
  constructor(channel, me, owner) {
    this.channel = channel;
    this.me = me;
    this.owner = owner;
    this.leave = () => this.postMessage({ gone: true });
    addEventListener("pagehide", this.leave);
  }

  /**
   * Whoever has this model, or nobody.
   * @param {string} model @param {string} me @param {(message: any) => void} receive
   * @returns {Promise<Remote | undefined>}
   */
  static async find(model, me, receive) {
    const channel = new BroadcastChannel(CHANNEL);
    /** @type {string | undefined} */
    const owner = await new Promise((resolve) => {
      channel.onmessage = ({ data }) => data.to === me && data.owner && resolve(data.owner);
      channel.postMessage({ ask: model, from: me });
      setTimeout(() => resolve(undefined), PATIENCE);
    });
    if (!owner) {
      channel.close();
      return undefined;
    }
    channel.onmessage = ({ data }) => data.to === me && data.event && receive(data);
    return new Remote(channel, me, owner);
  }

  /** @param {object} message as a worker would get it */
  postMessage(message) {
    this.channel.postMessage({ to: this.owner, from: this.me, ...message });
  }

  close() {
    removeEventListener("pagehide", this.leave);
    this.leave();
    this.channel.close();
  }
}
