// A button on each block of code that copies what a reader types: commands without their prompt, and no output.
function typed(text) {
  const lines = text.replace(/\n$/, "").split("\n");
  if (!lines.some((line) => /^(\$|>>>) /.test(line))) return lines.join("\n");
  const kept = [];
  let continues = false;
  for (const line of lines) {
    if (/^(\$|>>>) /.test(line)) {
      kept.push(line.replace(/^(\$|>>>) /, ""));
      continues = line.startsWith("$") && line.endsWith("\\");
    } else if (continues) {
      kept.push(line);
      continues = line.endsWith("\\");
    } else if (/^\.\.\.( |$)/.test(line) && lines.some((one) => one.startsWith(">>> "))) {
      kept.push(line.replace(/^\.\.\. ?/, ""));
    }
  }
  return kept.join("\n");
}

function addButtons() {
  for (const block of document.querySelectorAll("div.highlight")) {
    const code = block.querySelector("pre");
    if (!code || code.closest("div.output")) continue;
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "Copy";
    button.setAttribute("aria-label", "Copy the code");
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(typed(code.textContent));
      button.textContent = "Copied";
      setTimeout(() => { button.textContent = "Copy"; }, 2000);
    });
    block.append(button);
  }
}

// What is wider than the page can be scrolled with the keyboard.
function makeFocusable() {
  for (const wide of document.querySelectorAll("article pre, article [style*='overflow-x']")) wide.tabIndex = 0;
}

// The arrows that unfold the sidebar have no text for screen readers.
function nameArrows() {
  for (const arrow of document.querySelectorAll("li.has-children > details > summary")) {
    arrow.setAttribute("aria-label", `Pages below ${arrow.closest("li").querySelector("a").textContent.trim()}`);
  }
}

addButtons();
makeFocusable();
nameArrows();
