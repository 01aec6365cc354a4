// Judges custom resources (JSON, a list) by the models of their operators' definitions: values by the schemas, and fields that do not
// exist by the types, which the compiler holds against each object. NODE_PATH leads to the packages. Prints the kinds that it judged, and
// exits with 1 where something is wrong.
const { readFileSync } = require("node:fs");
const { join } = require("node:path");
const { pathToFileURL } = require("node:url");
const ts = require("typescript");

const PACKAGES = {
    "argoproj.io": "@kubernetes-models/argo-cd",
    "keda.sh": "@kubernetes-models/keda",
    "monitoring.coreos.com": "@kubernetes-models/prometheus-operator",
};
const modules = process.env.NODE_PATH;
const manifests = JSON.parse(readFileSync(0, "utf8"));

async function main() {
    const wrong = [];
    let source = "";
    for (const [at, manifest] of manifests.entries()) {
        const { apiVersion, kind, metadata } = manifest;
        const path = `${PACKAGES[apiVersion.split("/")[0]]}/${apiVersion}/${kind}`;
        const model = await import(pathToFileURL(join(modules, `${path}.js`)));
        try {
            new model[kind](manifest).validate();
        } catch (error) {
            wrong.push(`${kind} ${metadata.name}: ${error.message}`);
        }
        source += `import type { I${kind} as I${at} } from "${path}";\nexport const v${at}: I${at} = ${JSON.stringify(manifest)};\n`;
    }

    // A file that exists for the compiler alone, beside the packages.
    const file = join(modules, "..", "judged.ts");
    const options = {
        noEmit: true,
        strict: true,
        skipLibCheck: true,
        types: [],
        module: ts.ModuleKind.ESNext,
        moduleResolution: ts.ModuleResolutionKind.Bundler,
    };
    const host = ts.createCompilerHost(options);
    const read = host.getSourceFile.bind(host);
    host.getSourceFile = (name, ...rest) => (name === file ? ts.createSourceFile(name, source, ts.ScriptTarget.Latest) : read(name, ...rest));
    for (const found of ts.getPreEmitDiagnostics(ts.createProgram([file], options, host))) {
        wrong.push(ts.flattenDiagnosticMessageText(found.messageText, " ").slice(0, 300));
    }
    console.log([...new Set(manifests.map((manifest) => manifest.kind))].sort().join(" "));
    if (wrong.length > 0) {
        console.error(wrong.join("\n"));
        process.exitCode = 1;
    }
}

main();
