// Google's SDK, streaming: the answer's text on stdout.
import { GoogleGenAI } from "@google/genai";

const chunks = await new GoogleGenAI({ apiKey: process.env.GEMINI_API_KEY }).models.generateContentStream({
  model: "gemini-test-3",
  contents: "Say hello.",
});
for await (const chunk of chunks) process.stdout.write(chunk.text ?? "");
