// The payment provider: signed events, made of the samples of the other tests.

import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';

import { ROOT } from '../../client/test/support/gateway.js';

/** Sends a completed checkout of `customer`, who bought `quantity` of a price; gives status and answer. */
export async function buy(gateway, { customer, price, quantity = 1, id }) {
  const sample = readFileSync(join(ROOT, 'tests/fixtures/stripe/2025-09-30/checkout.session.completed.line_items.json'), 'utf8');
  const event = JSON.parse(sample);
  const seconds = Math.floor(Date.now() / 1_000);
  const session = event.data.object;
  Object.assign(event, { id: `evt_${id}`, created: seconds });
  Object.assign(session, { id: `cs_${id}`, payment_intent: `pi_${id}`, customer, created: seconds });
  const [line] = session.line_items.data;
  line.price.id = price;
  line.quantity = quantity;
  session.line_items.data = [line];
  const body = JSON.stringify(event);
  const mac = createHmac('sha256', gateway.stripeWebhookSecret).update(`${seconds}.${body}`).digest('hex');
  const headers = { 'Content-Type': 'application/json', 'Stripe-Signature': `t=${seconds},v1=${mac}` };
  const response = await fetch(`${gateway.url}/api/billing/webhooks/stripe`, { method: 'POST', headers, body });
  return { status: response.status, answer: await response.json() };
}
