const HOST = "https://rwkv.example";
const [chat, ask, state, answer] = ["chat", "ask", "state", "answer"].map((id) => document.getElementById(id));

const say = (message) => chat.contentWindow.postMessage({ rwkv: 1, ...message }, HOST);

addEventListener("message", ({ source, origin, data }) => {
  if (source !== chat.contentWindow || origin !== HOST || data?.rwkv !== 1) return;
  ask.disabled = false; // it is there
  if (data.type === "state") state.textContent = data.state;
  if (data.type === "answer") answer.textContent = data.text;
  if (data.type === "error") state.textContent = `${data.code}: ${data.message}`;
});
addEventListener("load", () => say({ type: "state" })); // it may have said "ready" before this script listened

ask.addEventListener("click", () => say({ type: "ask", id: "norway", text: "What is the capital of Norway?" }));
