// Anthropic's SDK: the answer's text on stdout.
import Anthropic from "@anthropic-ai/sdk";

const stream = new Anthropic().messages.stream({
  model: "claude-test-1",
  max_tokens: 100,
  messages: [{ role: "user", content: "Say hello." }],
});
process.stdout.write(await stream.finalText());
