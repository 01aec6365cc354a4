// Judges messages by a JSON schema, with npm's ajv: validate.cjs SCHEMA MESSAGES, a file of base64 lines. NODE_PATH leads to
// ajv. Prints one line for each: true where it is an event.
const { readFileSync } = require("node:fs");
const Ajv = require("ajv/dist/2020");
const addFormats = require("ajv-formats");

const [schemaFile, messagesFile] = process.argv.slice(2);
const ajv = addFormats(new Ajv({ strict: true, strictTypes: false }));
const validate = ajv.compile(JSON.parse(readFileSync(schemaFile, "utf8")));
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

function judge(line) {
    let event;
    try {
        event = JSON.parse(utf8.decode(Buffer.from(line, "base64")));
    } catch {
        return false;
    }
    return validate(event);
}

const lines = readFileSync(messagesFile, "utf8").split("\n").slice(0, -1);
console.log(lines.map(judge).join("\n"));
