/** Which packets the server is asked for, by name: what each part of the page in sight needs. */

/** The packets that what is in sight needs. */
export function neededPackets(state) {
  const { base, strength, sinks } = state;
  const names = base.cube ? [`cube ${strength}`] : rowsNames(state);
  if (base.links) names.push("types");
  if (state.composed && state.isOneHead() && base.links && state.tab === "tokens") names.push(`composition ${state.heads}`);
  if (state.map === "patterns") names.push(`patterns ${sinks}`);
  if (!base.cube && (state.map === "link" || state.over === "lanes")) names.push(`query ${state.query} ${strength}`);
  if (state.tab === "why" && state.isOneHead() && base.links) {
    names.push(whyName(state));
    if (state.cut) names.push(cutName(state));
  }
  return names;
}

/** Of chosen heads each has its packet; where layers are averaged, sinks are set aside before. */
export function rowsNames({ heads, strength, sinks }) {
  return heads === "all" ? [`rows all ${strength} ${sinks}`] : heads.split("+").map((head) => `rows ${head} ${strength}`);
}

export function whyName(state) {
  return `why ${state.heads} ${state.query} ${state.linkedKey()} ${reference(state)}`;
}

/** What the score is held against: a chosen key only where the query sees it beside the one that is explained. */
export function reference(state) {
  const key = Number(state.against);
  const other = !Number.isNaN(key);
  return other && (key > state.query || key === state.linkedKey()) ? "mean" : state.against;
}

/** state.cut: { end, part } whose ablation for all readers is asked for. */
export function cutName(state) {
  return `cut ${state.heads} ${state.query} ${state.linkedKey()} ${state.cut.end} ${state.cut.part}`;
}
