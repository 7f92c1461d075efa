// Writes a line of JSON for each test that ended, for the Python test that ran this; what went wrong besides, to stderr.
export default async function* report(events) {
  for await (const { type, data } of events) {
    if (type === "test:pass" || type === "test:fail") {
      const error = data.details.error;
      const told = error && (error.cause?.stack ?? error.stack ?? String(error));
      yield `${JSON.stringify({ name: data.name, passed: type === "test:pass", told })}\n`;
    }
    if (type === "test:stderr") process.stderr.write(data.message);
  }
}
