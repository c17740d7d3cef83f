import { Engine } from "https://rwkv.example/engine/client.js";

const [form, question, progress, answer] = ["form", "question", "progress", "answer"].map((id) => document.getElementById(id));
let starting;

/** The worker starts, and the model is fetched, with the first question. */
async function start() {
  const engine = await Engine.create();
  await engine.load("demo", { share: true, onProgress: ({ phase }) => (progress.textContent = phase) });
  return engine;
}

form.addEventListener("submit", async (event) => {
  event.preventDefault();
  answer.textContent = "";
  try {
    starting ??= start();
    const engine = await starting;
    const messages = [{ role: "user", content: question.value }];
    for await (const chunk of await engine.chat.completions.create({ messages, temperature: 0, stream: true }))
      answer.append(chunk.choices[0].delta.content ?? "");
    progress.textContent = "done";
  } catch (error) {
    starting = undefined;
    progress.textContent = `${error.code}: ${error.message} ${error.hint}`;
  }
});
