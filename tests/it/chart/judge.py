"""Judges manifests (JSON, a list) by Kubernetes' own schemas of each version that is named: what they do not know is wrong too.

Prints the kinds that it judged, and exits with 1 where something is wrong."""

import json
import sys

import kubernetes_validate

manifests = json.load(sys.stdin)
wrong = []
for version in sys.argv[1:]:
    for manifest in manifests:
        try:
            kubernetes_validate.validate(manifest, version, strict=True)
        except kubernetes_validate.ValidationError as error:
            place = ".".join(str(part) for part in error.path)
            wrong.append(f"{version}: {manifest['kind']} {manifest['metadata']['name']}: {place}: {error.message}")
print(" ".join(sorted({manifest["kind"] for manifest in manifests})))
if wrong:
    sys.exit("\n".join(wrong))
