// OpenAI's SDK, the Responses API streamed: the answer's text on stdout.
import OpenAI from "openai";

const stream = new OpenAI().responses.stream({ model: "gpt-test-5", input: "Say hello." });
process.stdout.write((await stream.finalResponse()).output_text);
