// Reads an AsyncAPI document with the official parser: one line for each finding, exit code 1 when one is an error.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const path = process.argv[2];
const { document, diagnostics } = await new Parser().parse(readFileSync(path, "utf8"), { source: path });
for (const { severity, path: place, message } of diagnostics) {
  console.log(`${["error", "warning", "information", "hint"][severity]}: ${place.join(".")}: ${message}`);
}
if (document) {
  console.log(`${document.version()}: ${document.channels().length} channels, ${document.schemas().length} schemas`);
}
process.exitCode = document && !diagnostics.some(({ severity }) => severity === 0) ? 0 : 1;
