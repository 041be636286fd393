/**
 * Streamlit hands over what is typed in a field when the field is left. The tokens of a text are to follow the typing,
 * so a pause counts as leaving. Where this does not work, leaving the field still does.
 */
const PAUSE = 350;

/**
 * A page is opened as `/flow`, and its address completed to `/flow?w=…` once it is drawn. That is one step of the
 * browser's history and not two, so that "back" leads to the page before.
 */
function completeAddresses() {
  const push = history.pushState;
  history.pushState = function (state, title, url) {
    const to = new URL(url ?? "", location.href);
    const completes = to.pathname === location.pathname && !location.search && to.search;
    (completes ? history.replaceState : push).call(history, state, title, url);
  };
}

if (!window.__intravistoAddresses) {
  window.__intravistoAddresses = true;
  completeAddresses();
}

export default function ({ data }) {
  // on the document, once for each field: the field itself comes and goes with the page
  const followed = (window.__intravistoLive ??= new Set());
  if (followed.has(data.key)) return;
  followed.add(data.key);
  let pause;
  document.addEventListener("input", ({ target }) => {
    if (!target.matches(`.st-key-${data.key} :is(textarea, input)`)) return;
    clearTimeout(pause);
    pause = setTimeout(() => target.dispatchEvent(new FocusEvent("focusout", { bubbles: true })), PAUSE);
  });
}
