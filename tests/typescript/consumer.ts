// What somebody else's TypeScript does with our types: build_scripts/make_types.py compiles it (never runs it).
import { Engine, localized, RwkvError, type ChatRequest, type LoadOptions, type Progress, type Status } from "py-rwkv";
import { RwkvChat, type ChatMessage, type ChatState } from "py-rwkv/element";
import { LIMITS, parse, type Command } from "py-rwkv/protocol";

const shown: string[] = [];
const options: LoadOptions = {
  device: "webgpu",
  quantization: "int8",
  onProgress: ({ phase, done, total }: Progress) => shown.push(`${phase} ${done / total}`),
};

export async function talk(question: string): Promise<string> {
  const engine: Engine = await Engine.create();
  await engine.load("demo", options);
  const status: Status = engine.status();
  const request: ChatRequest = { messages: [{ role: "user", content: question }], temperature: 0, max_tokens: 20 };
  let text = "";
  for await (const chunk of await engine.chat.completions.create({ ...request, stream: true }))
    text += chunk.choices[0].delta.content ?? "";
  const tokens: number[] = await engine.tokenize(text);
  const state: Blob = await engine.states.save(request);
  engine.close();
  return `${text} ${tokens.length} ${state.size} ${status.state}`;
}

export async function embed(place: HTMLElement): Promise<ChatMessage[]> {
  const chat = new RwkvChat();
  place.append(chat);
  chat.addEventListener("rwkv-state", () => shown.push(chat.state satisfies ChatState));
  try {
    const answer: string = await chat.ask("Hello");
    shown.push(answer);
  } catch (error) {
    if (error instanceof RwkvError) shown.push(error.code, localized(error.code, error.details, "zh").hint);
  }
  const { elements, engines }: { elements: number; engines: number } = RwkvChat.count();
  return elements + engines ? chat.messages : [];
}

export const command: Command | undefined = parse({ rwkv: 1, type: "ask", text: "x".repeat(LIMITS.text) });

// @ts-expect-error a device is "webgpu" or "numpy"
export const wrong: LoadOptions = { device: "gpu" };
// @ts-expect-error a message has a role
export const roleless: ChatRequest = { messages: [{ content: "Hello" }] };
