// The parser of Server-Sent Events, against the standard: one row a rule.

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { EventParser } from '../events.js';

const BOM = '\uFEFF';

/** What it is about, the stream, the events it holds as [type, data, id], and the id that it ends with. */
const TABLE = [
  ['one event', 'data: a\n\n', [['message', 'a', '']], ''],
  ['lines that end in LF', 'event: e\ndata: a\nid: 1\n\n', [['e', 'a', '1']], '1'],
  ['lines that end in CR', 'event: e\rdata: a\rid: 1\r\r', [['e', 'a', '1']], '1'],
  ['lines that end in CRLF', 'event: e\r\ndata: a\r\nid: 1\r\n\r\n', [['e', 'a', '1']], '1'],
  ['all of them', 'event: e\rdata: a\nid: 1\r\n\n', [['e', 'a', '1']], '1'],
  ['CR, then an empty line of LF', 'data: a\r\n\n', [['message', 'a', '']], ''],
  ['data of several lines', 'data: a\ndata\ndata: b\n\n', [['message', 'a\n\nb', '']], ''],
  ['data that is empty', 'data:\n\ndata\n\n', [['message', '', ''], ['message', '', '']], ''],
  ['one space after the colon', 'data:a\ndata: b\ndata:  c\n\n', [['message', 'a\nb\n c', '']], ''],
  ['colons in the value', 'data: a:b: c\n\n', [['message', 'a:b: c', '']], ''],
  ['comments', ': here\n\n:\ndata: a\n: there\n\n', [['message', 'a', '']], ''],
  ['BOM at the beginning', `${BOM}data: a\n\n`, [['message', 'a', '']], ''],
  ['BOM elsewhere', `data: a\n\n${BOM}data: b\n\n`, [['message', 'a', '']], ''],
  ['an id without data', 'id: 7\n\n', [], '7'],
  ['an id that lasts', 'id: 7\ndata: a\n\ndata: b\n\n', [['message', 'a', '7'], ['message', 'b', '7']], '7'],
  ['an id that is taken back', 'id: 7\n\nid\ndata: a\n\n', [['message', 'a', '']], ''],
  ['an id with NUL', 'id: 7\n\nid: 8\0\ndata: a\n\n', [['message', 'a', '7']], '7'],
  ['an event that is cut off', 'id: 7\n\nid: 8\ndata: a\n', [], '7'],
  ['a type that does not last', 'event: e\ndata: a\n\ndata: b\n\n', [['e', 'a', ''], ['message', 'b', '']], ''],
  ['a type without data', 'event: e\n\ndata: b\n\n', [['message', 'b', '']], ''],
  ['fields that nobody knows', 'dat: a\nDATA: b\nx\n\n', [], ''],
  ['characters of several bytes', 'data: äΩ😀\n\n', [['message', 'äΩ😀', '']], ''],
];

for (const [name, stream, expected, lastEventId] of TABLE) {
  test(name, () => {
    const bytes = new TextEncoder().encode(stream);
    // However the network cuts it.
    for (let size = 1; size <= bytes.length; size += 1) {
      const parser = new EventParser();
      const events = [];
      for (let at = 0; at < bytes.length; at += size) events.push(...parser.push(bytes.slice(at, at + size)));
      assert.deepEqual(events.map(({ type, data, id }) => [type, data, id]), expected, `in pieces of ${size}`);
      assert.equal(parser.lastEventId, lastEventId, `in pieces of ${size}`);
    }
  });
}

test('retry is a whole number', () => {
  const parser = new EventParser();
  const retry = (text) => {
    parser.push(new TextEncoder().encode(`retry: ${text}\n`));
    return parser.retryMs;
  };
  assert.deepEqual(['x', '-1', '1.5', '', '2000', '3s'].map(retry), [null, null, null, null, 2_000, 2_000]);
});

test('a stream that goes on keeps its id until it hears another', () => {
  const parser = new EventParser('41');
  const [event] = parser.push(new TextEncoder().encode('data: a\n\n'));
  assert.equal(event.id, '41');
});

test('an event without an end is not kept without an end', () => {
  const line = new TextEncoder().encode(`data: ${'a'.repeat(1 << 16)}`);
  for (const between of ['', '\n']) {
    const parser = new EventParser();
    const push = () => {
      for (let times = 0; times < 20; times += 1) {
        parser.push(line);
        parser.push(new TextEncoder().encode(between));
      }
    };
    assert.throws(push, RangeError);
  }
});
