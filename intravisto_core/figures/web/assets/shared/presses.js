/**
 * A browser gives no click where what was pressed is drawn anew before the button comes up: a picture that grows, or
 * scrolls, would lose it. `keepPresses` gives that click to what stands there then.
 */

const STILL = 5; // px that a hand moves in a click

const ours = (path) => path.some(({ classList }) => classList?.value.includes("iv-"));

/** Watch all presses on pictures of this window. To be called once. */
export function keepPresses() {
  let pressed = null;
  let missing = 0;
  const listen = (name, act) => window.addEventListener(name, act, { capture: true });
  listen("click", () => clearTimeout(missing));
  listen("pointercancel", () => (pressed = null));
  listen("pointerdown", (event) => {
    const path = event.composedPath();
    const { isPrimary, button, clientX, clientY } = event;
    pressed = isPrimary && button === 0 && ours(path) ? { target: path[0], clientX, clientY } : null;
  });
  listen("pointerup", (event) => {
    const [target] = event.composedPath();
    const { clientX, clientY, ctrlKey, metaKey, shiftKey, altKey } = event;
    const was = pressed;
    pressed = null;
    if (!was || was.target.isConnected || !ours(event.composedPath())) return;
    if (Math.hypot(clientX - was.clientX, clientY - was.clientY) > STILL) return;
    const place = { clientX, clientY, ctrlKey, metaKey, shiftKey, altKey, detail: 1, view: window };
    const give = () => target.dispatchEvent(new MouseEvent("click", { bubbles: true, composed: true, cancelable: true, ...place }));
    missing = setTimeout(give);
  });
}
