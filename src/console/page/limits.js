// Limits as rows with bars, which move when the figures do. Operators and users see the same ones.

import { fill, h, pill, say } from './dom.js';
import { amount, countdown, isEver, quantity, windowWords, words } from './format.js';

/**
 * A list of limits.
 *
 * @param {{href?: (code: string) => string, inWords?: boolean}} options where a limit's name leads; whether a sentence says how it stands
 */
export function limitList({ href, inWords = false } = {}) {
  const element = h('ul', { class: 'card', 'aria-label': 'Limits' });
  const rows = new Map();

  /** Shows figures; rows of `changedCodes` light up. */
  const update = (limitations, changedCodes) => {
    const isFirst = rows.size === 0;
    for (const limitation of limitations) {
      const { code } = limitation;
      if (!rows.has(code)) {
        rows.set(code, row(limitation, href, inWords));
        element.append(rows.get(code).element);
      }
      rows.get(code).update(limitation);
    }
    const codes = new Set(limitations.map(({ code }) => code));
    for (const [code, gone] of rows) {
      if (codes.has(code)) continue;
      gone.element.remove();
      rows.delete(code);
    }
    if (isFirst) return;
    const moved = limitations.filter(({ code }) => changedCodes.includes(code));
    moved.forEach(({ code }) => rows.get(code).light());
    if (moved.length > 0) say(moved.map((limitation) => `${limitation.name}: ${sentence(limitation)}`).join(' '));
  };

  const choose = (code) => {
    for (const [known, { element: item, link }] of rows) {
      item.classList.toggle('chosen', known === code);
      if (known === code) link.setAttribute('aria-current', 'true');
      else link.removeAttribute('aria-current');
    }
  };
  return { element, update, choose };
}

function row(limitation, href, inWords) {
  const { code } = limitation;
  const link = href === undefined ? h('span', { class: 'limit-name' }) : h('a', { class: 'limit-name', href: href(code) });
  const pills = h('span', { class: 'row' });
  const meter = h('div', { class: 'bar', role: 'meter', 'aria-valuemin': '0' });
  const [used, held] = [h('i', { class: 'used' }), h('i', { class: 'held' })];
  meter.append(used, held);
  const figures = h('div');
  const foot = h('p', { class: 'row dots quiet small' });
  const top = h('div', { class: 'row spread' }, h('span', { class: 'row' }, link, inWords ? null : h('code', { class: 'quiet' }, code)), pills);
  const element = h('li', { class: 'limit', 'data-code': code }, top, meter, figures, foot);

  const update = (now) => {
    link.textContent = now.name;
    const isState = now.entitlementType === 'state';
    const taken = now.consumedAmount + now.heldAmount;
    const whole = Math.max(now.grantedAmount, taken, 1);
    meter.hidden = isState;
    meter.classList.toggle('over', now.overLimit);
    meter.setAttribute('aria-label', now.name);
    meter.setAttribute('aria-valuemax', String(whole));
    meter.setAttribute('aria-valuenow', String(taken));
    meter.setAttribute('aria-valuetext', sentence(now));
    used.style.setProperty('--part', `${(100 * now.consumedAmount) / whole}%`);
    held.style.setProperty('--part', `${(100 * now.heldAmount) / whole}%`);
    fill(pills, state(now));
    fill(figures, inWords ? h('p', {}, sentence(now)) : isState ? null : numbers(now));
    fill(foot, h('span', {}, windowWords(now)), next(now), inWords ? null : h('span', {}, words(now.enforcementMode)));
  };
  const light = () => {
    element.classList.remove('moved');
    // Read, so that the browser begins the animation anew.
    void element.offsetWidth;
    element.classList.add('moved');
  };
  return { element, link, update, light };
}

function state(now) {
  const found = [];
  if (now.entitlementType === 'state') found.push(now.effectiveAmount > 0 ? pill('On', 'good dot') : pill('Off', 'dot'));
  if (now.overLimit) found.push(pill(`Over by ${quantity(-now.effectiveAmount, now)}`, 'bad dot'));
  else if (now.entitlementType !== 'state' && now.grantedAmount > 0 && now.availableAmount === 0) found.push(pill('Used up', 'warn dot'));
  else if (now.entitlementType !== 'state' && now.grantedAmount === 0) found.push(pill('Nothing granted'));
  if (now.lockState !== 'none') found.push(pill(words(now.lockState), 'bad'));
  return found;
}

function numbers(now) {
  const figure = (label, value, key = null) => h('div', {}, h('dt', {}, key === null ? null : h('span', { class: `key ${key}` }), label), h('dd', { 'data-figure': label.toLowerCase() }, value));
  return h(
    'dl',
    { class: 'figures' },
    figure('Used', amount(now.consumedAmount, now.scale), 'used'),
    figure('Held', amount(now.heldAmount, now.scale), 'held'),
    figure('Left', amount(now.availableAmount, now.scale), 'left'),
    figure('Granted', quantity(now.grantedAmount, now)),
  );
}

function next(now) {
  if (isEver(now.nextChangeAt)) return h('span', {}, 'Changes in ', countdown(now.nextChangeAt));
  return h('span', {}, 'No change planned');
}

/** How a limit stands, as a sentence. */
export function sentence(now) {
  if (now.entitlementType === 'state') return now.effectiveAmount > 0 ? 'It is on.' : 'It is off.';
  if (now.overLimit) return `${quantity(now.consumedAmount + now.heldAmount, now)} in use, of ${amount(now.grantedAmount, now.scale)}: ${amount(-now.effectiveAmount, now.scale)} too many.`;
  if (now.grantedAmount === 0) return 'Nothing is granted.';
  const held = now.heldAmount === 0 ? '' : `, ${amount(now.heldAmount, now.scale)} set aside`;
  return `${amount(now.consumedAmount, now.scale)} of ${quantity(now.grantedAmount, now)} used${held}. ${amount(now.availableAmount, now.scale)} left.`;
}
