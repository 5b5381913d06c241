// Keys, and the dialog that lists them.

const TYPED = "input, textarea, select, [contenteditable]";

export class Keys {
  /** `actions`: by key, what it does. */
  constructor(document, actions, dialog) {
    document.addEventListener("keydown", (event) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
      if (event.target.closest(TYPED) || dialog.open) return;
      if (event.key === " " && event.target.closest("button, a, summary")) return; // it is pressed
      const action = actions[event.key];
      if (!action) return;
      event.preventDefault();
      action();
    });
  }
}
