/**
 * Lists of places with their numbers: links of a node, heads of an edge, parts of a logit. A click leads there.
 * Data: { rev, wide, narrow, plain, signed, tables: [{ title, columns, more, lines: [{ kind, name, token, size, number, aside, negative, row,
 * position, part, head, help, id, open }] }] }. A line with an `id` is opened or closed by a click instead.
 */
import { announce, bus, rootOf } from "../shared/base.js";
import { drawTable } from "../shared/lines.js";

export default function ({ data, parentElement, setStateValue, setTriggerValue }) {
  const root = rootOf(parentElement, "iv-links");
  root.replaceChildren();
  root.classList.toggle("iv-wide", Boolean(data.wide));
  root.classList.toggle("iv-narrow", Boolean(data.narrow));
  const act = ({ row, position, part, head, id }) => {
    if (id != null) return setTriggerValue("open", id);
    const place = { row, position, part, head, how: "list", rev: data.rev };
    const { n } = announce(place, root);
    setStateValue("selection", { ...place, n });
  };
  for (const table of data.tables) drawTable(root, table, data, act);
  const mark = ({ part, head }) => {
    for (const row of root.querySelectorAll("tr[data-part]")) {
      // a line of a head is on with its head alone, every other line with its place
      const one = row.dataset.head === "" || row.dataset.head === String(head);
      row.classList.toggle("iv-on", Boolean(part) && row.dataset.part === part && one);
    }
  };
  const follow = ({ detail }) => mark(detail);
  if (bus.selection) mark(bus.selection);
  bus.addEventListener("select", follow);
  return () => bus.removeEventListener("select", follow);
}
