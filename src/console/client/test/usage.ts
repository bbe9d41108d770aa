// What a caller may write, and what the types must refuse. Never run: types.test.js has it checked.

import { type ChangeSource, ConsumableError, createClient } from '../consumable.js';

const client = createClient({ baseUrl: 'http://127.0.0.1:8080', getToken: async () => 'token', workspaceSlug: 'acme' });

export async function uses(): Promise<number | undefined> {
  const answer = await client.consume({ limitationCode: 'ai.credits', amount: 20 }, { idempotencyKey: 'order-81' });
  const items = [{ capability: 'projects.create' }, { limitationCode: 'ai.credits', amount: 2 }];
  await client.consume({ items, usageEventKey: 'order-82' });
  const { hold } = await client.hold({ limitationCode: 'ai.credits', amount: 5, ttlSeconds: 60 });
  await client.commit(hold.id, { amount: 3 });
  await client.release(hold.id);
  const allowed: boolean = (await client.check({ capability: 'projects.create' })).allowed;
  const stop = client.subscribe((limitations, { changedCodes, changeSources }) => {
    const sources: ChangeSource[] = changeSources;
    console.log(limitations.limitations.length, changedCodes.join(), sources);
  });
  stop();
  return allowed ? answer.limitations[0].availableAmount : client.snapshot()?.limitations[0].availableAmount;
}

export function refused(error: unknown): string {
  if (!(error instanceof ConsumableError)) return 'another';
  return `${error.status} ${error.code} ${error.retryAfterSeconds ?? 'never'} ${error.fieldErrors['amount']}`;
}

export async function mistakes(): Promise<void> {
  // @ts-expect-error what is used?
  await client.consume({ amount: 20 });
  // @ts-expect-error by one name only
  await client.consume({ capability: 'projects.create', limitationCode: 'projects.max' });
  // @ts-expect-error a hold is of an amount
  await client.hold({ limitationCode: 'ai.credits' });
  // @ts-expect-error there is no such key
  client.invalidate(['limits']);
  // @ts-expect-error it may be missing
  (await client.limitation('ai.credits')).availableAmount;
}
