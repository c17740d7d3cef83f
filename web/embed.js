// @ts-check
/**
 * One line for a chat in a page: puts a frame of embed.html in place of an element (`data-target`, a selector), or where the script stands.
 *
 *   <script src="https://HOST/embed.js" data-model="demo" data-target="#chat" async></script>
 *
 * The frame gets what the frame's messages say as events of its own: `rwkv-answer`, `rwkv-state`, … with the message in `detail`; docs/embed.md.
 */

(() => {
  const script = document.currentScript;
  if (!(script instanceof HTMLScriptElement)) return console.error("embed.js is a plain script: without type=module");
  const { target, height = "480", maxHeight = "720", title = "RWKV chat", ...settings } = script.dataset;
  const address = new URL("embed.html", script.src);
  for (const [name, value] of Object.entries(settings))
    address.searchParams.set(
      name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`),
      value ?? "",
    );
  address.searchParams.set("origins", location.origin);

  const frame = document.createElement("iframe");
  frame.title = title;
  frame.loading = "lazy";
  frame.allow = "clipboard-write";
  frame.referrerPolicy = "no-referrer";
  for (const [name, value] of [
    ["width", "100%"],
    ["border", "0"],
    ["height", `${Number.parseInt(height) || 480}px`],
  ])
    frame.style.setProperty(name, value);
  frame.src = address.href;

  addEventListener("message", ({ source, origin, data }) => {
    if (!frame.isConnected || source !== frame.contentWindow || origin !== address.origin || data?.rwkv !== 1) return;
    if (data.type === "resize" && height === "auto" && Number.isFinite(data.height))
      frame.style.setProperty("height", `${Math.min(Math.max(data.height, 160), Number.parseInt(maxHeight) || 720)}px`);
    frame.dispatchEvent(new CustomEvent(`rwkv-${data.type}`, { detail: data, bubbles: true }));
  });

  const place = () => {
    const found = target ? document.querySelector(target) : null;
    if (found) found.replaceChildren(frame);
    else if (target) console.error(`embed.js: nothing matches ${target}`);
    else script.after(frame);
  };
  if (target && document.readyState === "loading") addEventListener("DOMContentLoaded", place, { once: true });
  else place();
})();
