// Who is signed in. It is kept for this tab only, and gone when the tab is closed.

const PLACE = 'consumable.session';

let current = read();

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(PLACE));
  } catch {
    return null;
  }
}

/** `{token, kind}`, kind `admin` or `workspace`; `null`: nobody. */
export function session() {
  return current;
}

export function begin(token, kind) {
  current = { token, kind };
  sessionStorage.setItem(PLACE, JSON.stringify(current));
}

export function end() {
  current = null;
  sessionStorage.removeItem(PLACE);
}
