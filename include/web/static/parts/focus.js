// Focus for what has just appeared: once, not with each rendering.
const met = new WeakSet();

export function focusOnce(element) {
  if (!element || met.has(element)) return;
  met.add(element);
  element.focus();
}
