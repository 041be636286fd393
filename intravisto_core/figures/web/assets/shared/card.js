/** A card of a page that is drawn whole: when other data come, when it becomes wider or narrower, when the theme changes. */
import { element, rootOf } from "./base.js";

export class Card {
  constructor(root, name) {
    this.card = element("section", name, root);
    this.act = () => {};
    // The theme's colours are style variables: the end of the card's (instant) transition tells of a new theme.
    this.card.addEventListener("transitionend", ({ target }) => target === this.card && this.draw());
    this.resizes = new ResizeObserver(() => this.resize());
  }

  mount() {
    this.resizes.observe(this.card);
  }

  unmount() {
    this.resizes.disconnect();
  }

  resize() {
    if (this.card.clientWidth !== this.width) this.draw();
  }

  /** Draw all of it anew. Meanwhile it is as high as it was: an emptied page would jump, and have no scroll bar. */
  draw() {
    const { card } = this;
    card.style.minHeight = `${card.offsetHeight}px`;
    this.paint();
    card.style.minHeight = "";
  }

  /** Take other data and draw them; equal data leave everything as it is. */
  load(data) {
    const signature = JSON.stringify(data);
    if (signature === this.signature) return;
    this.begin(data);
    Object.assign(this, { data, signature });
    this.draw();
  }

  /** Before other data take the place of `this.data`: what is kept of the old ones. */
  begin() {}
}

/** Show a component's data in the card of its root, which is made once. What the user does goes out as the trigger "act". */
export function showCard(Kind, name, { data, parentElement, setTriggerValue }) {
  const root = rootOf(parentElement, name);
  const card = (root.intravisto ??= new Kind(root));
  card.act = (what) => setTriggerValue("act", what);
  card.mount();
  card.load(data);
  return () => card.unmount();
}
