//! As much of JSON Schema as the API's description has in it. A keyword that is not known here fails: nothing is passed over.

use std::fmt;

use serde_json::{Map, Value, json};

/// Keywords that say nothing about a value's form, or too little to check.
const SILENT: [&str; 8] =
    ["description", "example", "examples", "title", "default", "nullable", "propertyNames", "deprecated"];

/// What a reference stands for.
pub fn resolved<'d>(document: &'d Value, found: &'d Value) -> &'d Value {
    match found["$ref"].as_str() {
        Some(reference) => document.pointer(reference.trim_start_matches('#')).unwrap_or_else(|| panic!("{reference}")),
        None => found,
    }
}

/// What is wrong with a value, each with its place. An object must have no field that its schema does not name.
pub fn problems(document: &Value, schema: &Value, value: &Value) -> Vec<String> {
    let mut found = Found { document, problems: Vec::new() };
    found.whole(schema, value, &Place { of: None, name: "", n: None });
    found.problems
}

/// Where in a value; written out only where something is wrong, since responses have thousands of places.
struct Place<'a> {
    of: Option<&'a Place<'a>>,
    name: &'a str,
    n: Option<usize>,
}

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(of) = self.of {
            write!(f, "{of}")?;
        }
        match self.n {
            Some(n) => write!(f, "[{n}]"),
            None => write!(f, ".{}", self.name),
        }
    }
}

struct Found<'d> {
    document: &'d Value,
    problems: Vec<String>,
}

impl<'d> Found<'d> {
    fn wrong(&mut self, at: &Place<'_>, what: impl fmt::Display) {
        self.problems.push(format!("{at}: {what}"));
    }

    /// A value by the whole of its schema.
    fn whole(&mut self, schema: &'d Value, value: &Value, at: &Place<'_>) {
        let mut named = Vec::new();
        let open = self.part(schema, value, at, &mut named);
        if let (false, Value::Object(fields)) = (open, value) {
            for field in fields.keys().filter(|field| !named.contains(&field.as_str())) {
                self.wrong(at, format!("the field {field} is not described"));
            }
        }
    }

    /// A value by a part of its schema; adds the fields that the part names, and says whether it takes any other.
    fn part(&mut self, schema: &'d Value, value: &Value, at: &Place<'_>, named: &mut Vec<&'d str>) -> bool {
        let fields = schema.as_object().unwrap_or_else(|| panic!("{at}: a schema that is no object: {schema}"));
        // An object of which no field is described is one of any fields.
        let mut open = schema.get("properties").is_none()
            && match &schema["type"] {
                Value::Array(types) => types.iter().any(|name| name == "object"),
                one => one == "object",
            };
        for (keyword, rule) in fields {
            match keyword.as_str() {
                "$ref" => open |= self.part(resolved(self.document, schema), value, at, named),
                "allOf" => {
                    for part in rule.as_array().unwrap() {
                        open |= self.part(part, value, at, named);
                    }
                }
                "oneOf" | "anyOf" => open |= self.one_of(rule.as_array().unwrap(), value, at, named),
                "properties" => self.properties(rule.as_object().unwrap(), value, at, named),
                "items" => {
                    for (n, item) in value.as_array().into_iter().flatten().enumerate() {
                        self.whole(rule, item, &Place { of: Some(at), name: "", n: Some(n) });
                    }
                }
                "additionalProperties" => open = true,
                _ => self.simple(keyword, rule, value, at),
            }
        }
        open
    }

    fn properties(&mut self, rules: &'d Map<String, Value>, value: &Value, at: &Place<'_>, named: &mut Vec<&'d str>) {
        for (name, rule) in rules {
            named.push(name);
            if let Some(field) = value.get(name) {
                self.whole(rule, field, &Place { of: Some(at), name, n: None });
            }
        }
    }

    fn one_of(&mut self, rules: &'d [Value], value: &Value, at: &Place<'_>, named: &mut Vec<&'d str>) -> bool {
        let mut reasons = Vec::new();
        for rule in rules {
            let (mut found, mut names) = (Found { document: self.document, problems: Vec::new() }, Vec::new());
            let open = found.part(rule, value, at, &mut names);
            if found.problems.is_empty() {
                named.extend(names);
                return open;
            }
            reasons.push(found.problems.join(", "));
        }
        self.wrong(at, format!("is none of the alternatives: {}", reasons.join("; or ")));
        true
    }

    fn simple(&mut self, keyword: &str, rule: &Value, value: &Value, at: &Place<'_>) {
        let text = |check: fn(usize, usize) -> bool| {
            let most = rule.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap();
            value.as_str().is_none_or(|text| check(text.chars().count(), most))
        };
        let items = |check: fn(usize, usize) -> bool| {
            let most = rule.as_u64().and_then(|n| usize::try_from(n).ok()).unwrap();
            value.as_array().is_none_or(|items| check(items.len(), most))
        };
        let holds = match keyword {
            "type" => rule.as_array().map_or_else(|| is(rule, value), |types| types.iter().any(|one| is(one, value))),
            "enum" => rule.as_array().unwrap().contains(value),
            "const" => rule == value,
            "required" => {
                let mut names = rule.as_array().unwrap().iter().filter_map(Value::as_str);
                !value.is_object() || names.all(|name| value.get(name).is_some())
            }
            "format" => value.as_str().is_none_or(|text| is_of_format(rule.as_str().unwrap(), text)),
            "minimum" => value.as_f64().is_none_or(|n| n >= rule.as_f64().unwrap()),
            "maximum" => value.as_f64().is_none_or(|n| n <= rule.as_f64().unwrap()),
            "minLength" => text(|length, least| length >= least),
            "maxLength" => text(|length, most| length <= most),
            "minItems" => items(|count, least| count >= least),
            "maxItems" => items(|count, most| count <= most),
            silent if SILENT.contains(&silent) => true,
            unknown => panic!("{at}: the schema has the keyword {unknown}, which is not checked yet"),
        };
        if !holds {
            self.wrong(at, format!("{value} breaks {keyword} {rule}"));
        }
    }
}

fn is(name: &Value, value: &Value) -> bool {
    match name.as_str().unwrap() {
        "null" => value.is_null(),
        "boolean" => value.is_boolean(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "string" => value.is_string(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        other => panic!("{other} is no type"),
    }
}

fn is_of_format(format: &str, text: &str) -> bool {
    match format {
        "uuid" => text.len() == 36 && text.parse::<uuid::Uuid>().is_ok(),
        "date-time" => chrono::DateTime::parse_from_rfc3339(text).is_ok() && text.ends_with('Z'),
        _ => true,
    }
}

#[test]
fn undescribed_responses_are_found() {
    let document = json!({"components": {"schemas": {
        "Base": {"type": "object", "required": ["id"], "properties": {"id": {"type": "string", "format": "uuid"}}},
        "Sum": {"allOf": [
            {"$ref": "#/components/schemas/Base", "description": "a part"},
            {"type": "object", "properties": {
                "n": {"type": ["integer", "null"], "minimum": 0},
                "one": {"oneOf": [{"$ref": "#/components/schemas/Base"}, {"type": "null"}]},
                "all": {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
                "any": {"type": ["object", "null"]},
            }},
        ]},
    }}});
    let schema = json!({"$ref": "#/components/schemas/Sum"});
    let id = uuid::Uuid::nil();
    for good in [
        json!({"id": id}),
        json!({"id": id, "n": null, "one": null, "all": [], "any": {"x": [1]}}),
        json!({"id": id, "n": 7, "one": {"id": id}, "all": ["a", "b"]}),
    ] {
        assert_eq!(problems(&document, &schema, &good), Vec::<String>::new(), "{good}");
    }
    for bad in [
        json!([]),
        json!({}),
        json!({"id": "7"}),
        json!({"id": id, "n": -1}),
        json!({"id": id, "n": 1.5}),
        json!({"id": id, "more": 1}),
        json!({"id": id, "one": {"id": id, "more": 1}}),
        json!({"id": id, "one": 1}),
        json!({"id": id, "all": ["c"]}),
    ] {
        assert!(!problems(&document, &schema, &bad).is_empty(), "{bad}");
    }
}
