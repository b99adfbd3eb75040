// Focuses an element when it appears, and not again when it is rendered again.
const met = new WeakSet();

export function focusOnce(element) {
  if (!element || met.has(element)) return;
  met.add(element);
  element.focus();
}
