import { Engine } from "https://rwkv.example/engine/client.js";
import OpenAI from "./openai/index.mjs"; // npm's package `openai`, unpacked beside this page

const [form, question, progress, answer] = ["form", "question", "progress", "answer"].map((id) => document.getElementById(id));
let starting;

/** A client whose requests never leave the page: the address is only a name. */
async function start() {
  const engine = await Engine.create();
  await engine.load("demo", { share: true, onProgress: ({ phase }) => (progress.textContent = phase) });
  return new OpenAI({ baseURL: "https://rwkv.local/v1", apiKey: "-", fetch: engine.fetch, dangerouslyAllowBrowser: true });
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  answer.textContent = "";
  try {
    starting ??= start();
    const client = await starting;
    const messages = [{ role: "user", content: question.value }];
    for await (const chunk of await client.chat.completions.create({ model: "demo", messages, temperature: 0, stream: true }))
      answer.append(chunk.choices[0]?.delta.content ?? "");
    progress.textContent = "done";
  } catch (error) {
    starting = undefined;
    progress.textContent = `${error.code}: ${error.message}`;
  }
});
