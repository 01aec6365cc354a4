"""Judges messages by a JSON schema, with PyPI's jsonschema: validate.py SCHEMA MESSAGES, a file of base64 lines.

Prints one line for each: true where it is an event."""

import base64
import json
import sys

from jsonschema import Draft202012Validator


def refuse(constant):
    raise ValueError(f"{constant} is not JSON")


def judge(validator, body):
    try:
        event = json.loads(body.decode("utf-8"), parse_constant=refuse)
    except ValueError:
        return False
    return validator.is_valid(event)


with open(sys.argv[1]) as file:
    schema = json.load(file)
Draft202012Validator.check_schema(schema)
formats = Draft202012Validator.FORMAT_CHECKER
assert "date-time" in formats.checkers, "rfc3339-validator is missing"
validator = Draft202012Validator(schema, format_checker=formats)
with open(sys.argv[2]) as file:
    for line in file:
        print(json.dumps(judge(validator, base64.b64decode(line))))
