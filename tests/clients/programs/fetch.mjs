// Node's own fetch: the body of a streamed chat completion as it came, on stdout. `node fetch.mjs URL`
const response = await fetch(process.argv[2], {
  method: "POST",
  headers: {
    Authorization: `Bearer ${process.env.OPENAI_API_KEY}`,
    "Content-Type": "application/json",
  },
  body: JSON.stringify({
    model: "gpt-test-1",
    stream: true,
    messages: [{ role: "user", content: "Say hello." }],
  }),
});
process.stdout.write(new Uint8Array(await response.arrayBuffer()));
