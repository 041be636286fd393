/**
 * Streamlit hands over what is typed in a text area when the field is left. The tokens under the prompt are to follow
 * the typing, so a pause counts as leaving. Where this does not work, leaving the field still does.
 */
const PAUSE = 350;

export default function ({ data, parentElement }) {
  const field = document.querySelector(`.st-key-${data.key} :is(textarea, input)`);
  if (!field || field.intravistoLive) return;
  field.intravistoLive = true;
  let pause;
  field.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(() => field.dispatchEvent(new FocusEvent("focusout", { bubbles: true })), PAUSE);
  });
}
