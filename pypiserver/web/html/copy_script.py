"""The one script of our pages: a button that copies the command, the hash or the address that it follows.

**Invariants:** without it, a click takes the whole text and the page says so; the policy of the pages names its hash,
so a browser runs these very bytes and no others; it sends and loads nothing, and reads what the page shows.
"""

from __future__ import annotations

import base64
import hashlib

# The old command, because the new interface (navigator.clipboard) is not there on pages without TLS.
SCRIPT = """
for (const hint of document.querySelectorAll("[data-copy]")) {
  const text = hint.previousElementSibling, button = document.createElement("button");
  const select = () => text.select ? text.select() : getSelection().selectAllChildren(text);
  button.type = "button";
  button.className = "copy";
  button.textContent = "Copy";
  button.addEventListener("click", () => {
    select();
    button.textContent = document.execCommand("copy") ? "Copied" : "Selected";
    setTimeout(() => { button.textContent = "Copy"; }, 2000);
  });
  hint.replaceWith(button);
}
"""
# For script-src (Content Security Policy Level 3, section 2.3.1).
SOURCE = f"'sha256-{base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}'"
