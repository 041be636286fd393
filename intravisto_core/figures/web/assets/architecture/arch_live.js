/** A running script: boxes are grey until they run, then running, then done; at its end the new numbers are fetched. */

const EVERY_MS = 200;

export class Live {
  constructor(picture) {
    this.picture = picture;
    this.states = new Map();
    this.n = 0;
    this.runs = null;
    this.timer = setInterval(() => this.look(), EVERY_MS);
  }

  async look() {
    if (this.busy) return;
    this.busy = true;
    try {
      const state = await (await fetch(`state?since=${this.n}`)).json();
      if (state.from < this.n || state.n < this.n) this.states.clear();
      for (const [path, done] of state.events) this.states.set(path, done ? "done" : "running");
      this.n = state.n;
      if (this.runs != null && state.runs !== this.runs) this.picture.load(await (await fetch("data")).json());
      this.runs = state.runs;
      this.paint();
    } catch {
      // the script has ended: what was there last stays
      clearInterval(this.timer);
    } finally {
      this.busy = false;
    }
  }

  paint() {
    const { model, view } = this.picture;
    for (const group of view.svg.querySelectorAll(".iv-node[data-path]")) {
      const node = model.byPath.get(group.dataset.path);
      const state = node ? this.states.get(model.pathOf(node)) : null;
      group.classList.toggle("iv-running", state === "running");
      group.classList.toggle("iv-done", state === "done");
      group.classList.toggle("iv-waiting", this.states.size > 0 && !state && Boolean(node?.called));
    }
  }
}
