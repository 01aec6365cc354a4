"""Reads dashboards by Grafana's model of them, writes them again, and prints what got lost: fields that the model does not know."""

import json
import sys

from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard


def lost(path, given, kept):
    if isinstance(given, dict) and isinstance(kept, dict):
        for key, value in given.items():
            if key in kept:
                yield from lost(f"{path}.{key}", value, kept[key])
            elif value is not None:
                yield f"{path}.{key} is unknown"
    elif isinstance(given, list) and isinstance(kept, list) and len(given) == len(kept):
        for index, pair in enumerate(zip(given, kept)):
            yield from lost(f"{path}[{index}]", *pair)
    elif given != kept:
        yield f"{path}: {given} became {kept}"


plugins.register_default_plugins()
for name in sys.argv[1:]:
    with open(name, encoding="utf-8") as file:
        given = json.load(file)
    kept = json.loads(JSONEncoder(sort_keys=True).encode(Dashboard.from_json(given)))
    for line in lost(name, given, kept):
        print(line)
