//! The CustomResourceDefinitions as the cluster gets them, and their checked-in text.

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::{
    CustomResourceDefinition, JSONSchemaProps, JSONSchemaPropsOrArray, JSONSchemaPropsOrBool,
};
use kube::CustomResourceExt;
use serde_json::Value;

use crate::v1alpha1::{ClusterSecurityWatch, SecurityWatch, SecurityWatchNode};

/// Where their texts are checked in, seen from this crate.
pub const FOLDERS: [&str; 2] = ["yaml", "../charts/securitywatch/files/crds"];

/// Every CRD of this API, in the order they are documented.
#[must_use]
pub fn definitions() -> [CustomResourceDefinition; 3] {
    [SecurityWatch::crd(), ClusterSecurityWatch::crd(), SecurityWatchNode::crd()].map(tidy)
}

/// Removes `nullable`, which the derive puts on every optional field. Without it the server drops an
/// explicit null before it validates; with it the null would stay, and `has(self.ref)` would hold for
/// `ref: null`. Joins the lines of descriptions: they were broken for the source, not for the reader.
fn tidy(mut definition: CustomResourceDefinition) -> CustomResourceDefinition {
    fn clear(schema: &mut JSONSchemaProps) {
        schema.nullable = None;
        if let Some(words) = &mut schema.enum_ {
            words.retain(|word| !word.0.is_null());
        }
        if let Some(description) = &mut schema.description {
            *description = description.replace('\n', " ");
        }
        for property in schema.properties.iter_mut().flat_map(|properties| properties.values_mut())
        {
            clear(property);
        }
        if let Some(JSONSchemaPropsOrArray::Schema(items)) = &mut schema.items {
            clear(items);
        }
        if let Some(JSONSchemaPropsOrBool::Schema(values)) = &mut schema.additional_properties {
            clear(values);
        }
    }
    for version in &mut definition.spec.versions {
        if let Some(root) =
            version.schema.as_mut().and_then(|schema| schema.open_api_v3_schema.as_mut())
        {
            clear(root);
        }
    }
    definition
}

/// The name of the file a CRD is checked in as: `securitywatch.io_securitywatches.yaml`.
#[must_use]
pub fn file_name(definition: &CustomResourceDefinition) -> String {
    format!("{}_{}.yaml", definition.spec.group, definition.spec.names.plural)
}

/// The schema of a watch's spec as files are checked by it: that of the CRD, without descriptions and
/// rules, on one line.
///
/// It is checked in and compiled into the program, because generating it from the types takes a second
/// of an unoptimised build and many more on an emulated CPU.
///
/// # Errors
/// Only if the type cannot be written as JSON at all.
pub fn document_schema() -> Result<String, serde_json::Error> {
    let version = tidy(SecurityWatch::crd()).spec.versions.into_iter().next();
    let root = version.and_then(|version| version.schema?.open_api_v3_schema).unwrap_or_default();
    let mut spec = serde_json::to_value(root)?["properties"]["spec"].take();
    keep_checks(&mut spec);
    Ok(format!("{spec}\n"))
}

fn keep_checks(schema: &mut Value) {
    let Some(fields) = schema.as_object_mut() else {
        return;
    };
    fields.remove("description");
    fields.remove("x-kubernetes-validations");
    for property in
        fields.get_mut("properties").and_then(Value::as_object_mut).into_iter().flatten()
    {
        keep_checks(property.1);
    }
    for inner in ["items", "additionalProperties"] {
        if let Some(inner) = fields.get_mut(inner) {
            keep_checks(inner);
        }
    }
}

/// The YAML text of a CRD, without the status that only the server writes.
///
/// # Errors
/// Only if the type cannot be written as JSON at all.
pub fn to_yaml(definition: &CustomResourceDefinition) -> Result<String, serde_json::Error> {
    let mut value = serde_json::to_value(definition)?;
    if let Some(object) = value.as_object_mut() {
        object.remove("status");
    }
    let mut text = String::from(
        "# Generated: cargo run -p securitywatch-api --bin crdgen. Do not edit by hand.\n",
    );
    write_value(&mut text, &value, 0);
    Ok(text)
}

/// Longest value written on one line.
const LINE_BYTES: usize = 220;

/// Block style for what is large and one line for what is small, with every string but single words in
/// JSON's quotes: YAML reads them the same, and none can be mistaken for a number, a boolean or a comment.
fn write_value(out: &mut String, value: &Value, indent: usize) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                push_indent(out, indent);
                out.push_str(&plain_or_quoted(key));
                out.push(':');
                write_nested(out, value, indent + 1);
            }
        }
        Value::Array(items) => {
            for item in items {
                push_indent(out, indent);
                out.push('-');
                write_nested(out, item, indent + 1);
            }
        }
        scalar => out.push_str(&one_line(scalar)),
    }
}

fn write_nested(out: &mut String, value: &Value, indent: usize) {
    let line = one_line(value);
    let nested = matches!(value, Value::Object(_) | Value::Array(_));
    if nested && line.len() > LINE_BYTES {
        out.push('\n');
        write_value(out, value, indent);
    } else {
        out.push(' ');
        out.push_str(&line);
        out.push('\n');
    }
}

fn one_line(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let parts: Vec<_> = fields
                .iter()
                .map(|(key, value)| format!("{}: {}", plain_or_quoted(key), one_line(value)))
                .collect();
            format!("{{{}}}", parts.join(", "))
        }
        Value::Array(items) => {
            format!("[{}]", items.iter().map(one_line).collect::<Vec<_>>().join(", "))
        }
        Value::String(text) => plain_or_quoted(text),
        Value::Number(number) => whole(number).unwrap_or_else(|| number.to_string()),
        scalar => scalar.to_string(),
    }
}

/// Bounds are floats to the derive. Written `0.0`, they would differ from the server's `0` for whoever
/// compares texts or JSON values, and a GitOps tool would see drift.
#[allow(clippy::cast_possible_truncation, reason = "only where the way back gives the same number")]
fn whole(number: &serde_json::Number) -> Option<String> {
    let float = number.as_f64().filter(|_| number.is_f64())?;
    let integer = float as i64;
    (integer as f64 == float && integer.unsigned_abs() < 1 << 53).then(|| integer.to_string())
}

fn push_indent(out: &mut String, indent: usize) {
    out.extend(std::iter::repeat_n(' ', indent));
}

fn plain_or_quoted(word: &str) -> String {
    let plain = word.starts_with(|c: char| c.is_ascii_alphabetic())
        && word.chars().all(|c| c.is_ascii_alphanumeric() || c == '-' || c == '_')
        // YAML 1.1 readers take these for booleans or null.
        && !["y", "n", "yes", "no", "on", "off", "true", "false", "null"]
            .contains(&word.to_ascii_lowercase().as_str());
    if plain { word.to_owned() } else { Value::from(word).to_string() }
}
