// Amounts, instants and words, as people read them.

import { h } from './dom.js';

const WHOLE = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });
const DAY = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium' });
const MINUTE = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'short' });
const SECOND = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

/** From here on it is not a day that comes. */
const NEVER = Date.parse('9999-01-01T00:00:00Z');

/** A whole number of the smallest unit, with the decimal places of its scale. */
export function amount(value, scale = 0) {
  if (value === null || value === undefined) return '–';
  if (scale === 0) return WHOLE.format(value);
  const digits = String(Math.abs(value)).padStart(scale + 1, '0');
  const whole = WHOLE.format(Number(digits.slice(0, -scale)));
  return `${value < 0 ? '-' : ''}${whole}.${digits.slice(-scale)}`;
}

/** An amount with its unit: `1 credit`, `1,000 credits`. */
export function quantity(value, { unit, scale = 0 }) {
  return `${amount(value, scale)} ${plural(value === 10 ** scale ? 1 : 2, unit)}`;
}

export function plural(count, word) {
  if (count === 1) return word;
  if (/(s|x|ch|sh)$/.test(word)) return `${word}es`;
  return /[^aeiou]y$/.test(word) ? `${word.slice(0, -1)}ies` : `${word}s`;
}

/** How many of something: `3 subjects`. */
export function count(number, word) {
  return `${WHOLE.format(number)} ${plural(number, word)}`;
}

/** Money of a currency's smallest unit. */
export function money(minorUnits, currency) {
  const code = currency.toUpperCase();
  const digits = new Intl.NumberFormat('en', { style: 'currency', currency: code }).resolvedOptions().maximumFractionDigits;
  return `${amount(minorUnits, digits)} ${code}`;
}

/** An instant in the reader's own time; UTC when pointed at. */
export function when(iso, { precise = false } = {}) {
  if (iso === null || iso === undefined) return '–';
  const date = new Date(iso);
  if (date.getTime() >= NEVER) return 'never';
  return h('time', { datetime: iso, title: iso.replace('T', ' ').replace('Z', ' UTC') }, (precise ? SECOND : MINUTE).format(date));
}

export function day(iso) {
  return iso === null || Date.parse(iso) >= NEVER ? 'never' : DAY.format(new Date(iso));
}

export function isEver(iso) {
  return iso !== null && iso !== undefined && Date.parse(iso) < NEVER;
}

/** How long until then: `3 d 4 h`, `2 h 05 min`, `1:07`. */
export function until(iso, now = Date.now()) {
  const seconds = Math.max(0, Math.ceil((Date.parse(iso) - now) / 1_000));
  const [days, hours, minutes] = [Math.floor(seconds / 86_400), Math.floor(seconds / 3_600) % 24, Math.floor(seconds / 60) % 60];
  const two = (number) => String(number).padStart(2, '0');
  if (days > 0) return `${days} d ${hours} h`;
  if (hours > 0) return `${hours} h ${two(minutes)} min`;
  return `${minutes}:${two(seconds % 60)}`;
}

/** A countdown, which the page moves on each second. */
export function countdown(iso) {
  return h('time', { datetime: iso, 'data-until': iso, title: iso.replace('T', ' ').replace('Z', ' UTC') }, until(iso));
}

/** Moves the countdowns on, until `signal`. */
export function tick(signal) {
  const move = () => {
    for (const element of document.querySelectorAll('[data-until]')) element.textContent = until(element.dataset.until);
  };
  const timer = setInterval(move, 1_000);
  signal.addEventListener('abort', () => clearInterval(timer));
}

/** `metered_quota` as words. */
export function words(name) {
  const text = name.replaceAll('_', ' ');
  return text.charAt(0).toUpperCase() + text.slice(1);
}

/** The window of a limit. */
export function windowWords({ windowInterval, windowAnchor, entitlementType }) {
  if (windowInterval === null) return { capacity: 'At any one time', balance: 'Until it is used up', state: 'A state' }[entitlementType] ?? 'In all';
  if (windowAnchor === 'rolling') return `In any ${windowInterval}`;
  return windowAnchor === 'billing_period' ? `Each billing ${windowInterval}` : `Each ${windowInterval}`;
}

/** What `<input type="datetime-local">` says, as an instant. */
export function instant(local) {
  return local === '' ? undefined : new Date(local).toISOString();
}
