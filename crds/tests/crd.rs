//! The generated CRDs: checked in, small enough, and within the rules of this API.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::path::Path;
use std::sync::LazyLock;

use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use securitywatch_api::crd;
use serde_json::Value;

/// Client-side `kubectl apply` keeps a copy of the object in an annotation, and all annotations of an
/// object together hold this many bytes.
const ANNOTATION_BYTES: usize = 256 * 1024;

/// Generating them takes its time.
static DEFINITIONS: LazyLock<[CustomResourceDefinition; 3]> = LazyLock::new(crd::definitions);

static SCHEMAS: LazyLock<Vec<Value>> = LazyLock::new(|| {
    let root = |definition: &CustomResourceDefinition| {
        let schema = definition.spec.versions[0].schema.as_ref().unwrap();
        serde_json::to_value(schema.open_api_v3_schema.as_ref().unwrap()).unwrap()
    };
    DEFINITIONS.iter().map(root).collect()
});

fn schema(definition: usize) -> Value {
    SCHEMAS[definition].clone()
}

#[test]
fn checked_in_files_are_what_the_types_say() {
    let texts = DEFINITIONS
        .each_ref()
        .map(|definition| (crd::file_name(definition), crd::to_yaml(definition).unwrap()));
    for (name, text) in &texts {
        assert!(text.len() < ANNOTATION_BYTES, "{name} has {} bytes", text.len());
        println!("{name}: {} bytes", text.len());
    }
    for folder in crd::FOLDERS {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
        for (name, text) in &texts {
            let found = std::fs::read_to_string(folder.join(name)).unwrap_or_default();
            let path = folder.join(name);
            assert!(
                found == *text,
                "{} is stale: cargo run -p securitywatch-api --bin crdgen",
                path.display()
            );
        }
        let mut found: Vec<_> = std::fs::read_dir(&folder)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        found.sort();
        let mut names = texts.each_ref().map(|(name, _)| name.clone());
        names.sort();
        assert_eq!(found, names, "{}", folder.display());
    }
}

#[test]
fn numbers_are_written_as_the_server_writes_them() {
    for definition in &*DEFINITIONS {
        let text = crd::to_yaml(definition).unwrap();
        assert!(text.contains("minimum: 0"));
        assert!(!text.contains(".0,") && !text.contains(".0}"), "a float for a whole number");
    }
}

#[test]
fn files_are_checked_by_the_same_schema() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/document/watch.schema.json");
    let found = std::fs::read_to_string(path).unwrap_or_default();
    assert!(
        found == crd::document_schema().unwrap(),
        "stale: cargo run -p securitywatch-api --bin crdgen"
    );
}

/// Calls `visit` for each schema below `node`, with its path.
fn walk(node: &Value, path: &str, visit: &mut dyn FnMut(&str, &Value)) {
    visit(path, node);
    for (name, property) in node["properties"].as_object().into_iter().flatten() {
        walk(property, &format!("{path}.{name}"), visit);
    }
    for inner in ["items", "additionalProperties"] {
        if node[inner].is_object() {
            walk(&node[inner], &format!("{path}[]"), visit);
        }
    }
}

#[test]
fn every_part_is_bounded_and_described() {
    let mut broken = Vec::new();
    let mut parts = 0;
    for definition in 0..3 {
        let root = schema(definition);
        for part in ["spec", "status"] {
            walk(&root["properties"][part], part, &mut |path, node| {
                parts += usize::from(!node.is_null());
                broken.extend(flaws(node).into_iter().map(|flaw| format!("{path}: {flaw}")));
                let properties = node["properties"].as_object().into_iter().flatten();
                for (name, property) in properties {
                    if property["description"].as_str().is_none_or(|text| text.len() < 10) {
                        broken.push(format!("{path}.{name}: no description"));
                    }
                }
            });
        }
    }
    assert!(parts > 1000, "the walk saw {parts} parts only");
    assert!(broken.is_empty(), "{} flaws:\n{}", broken.len(), broken.join("\n"));
}

fn flaws(node: &Value) -> Vec<String> {
    let mut flaws = Vec::new();
    let mut flaw = |holds: bool, text: &str| {
        if !holds {
            flaws.push(text.to_owned());
        }
    };
    let format = node["format"].as_str().unwrap_or_default();
    let has = |key: &str| !node[key].is_null();
    flaw(!has("default"), "a default: the server would write it into users' objects");
    flaw(!has("nullable"), "nullable: an explicit null would stay");
    flaw(!has("anyOf") && !has("oneOf") && !has("$ref"), "not a plain structural schema");
    flaw(!has("x-kubernetes-preserve-unknown-fields"), "unknown fields would stay");
    flaw(!format.starts_with("uint"), "an unsigned format, which the server warns about");
    match node["type"].as_str() {
        Some("array") => {
            flaw(has("maxItems"), "a list without bound");
            flaw(has("items"), "a list of anything");
        }
        Some("string") => {
            flaw(has("maxLength") || has("enum") || format == "date-time", "a text without bound");
        }
        Some("integer") => {
            flaw(format == "int32" || format == "int64", "a number of unknown width");
            flaw(has("minimum"), "a number without lower bound");
        }
        Some("object") => {
            flaw(has("properties") || has("maxProperties"), "a map without bound");
        }
        Some("boolean") | None => {}
        Some(other) => flaw(false, &format!("the type {other}")),
    }
    flaw(node.is_null() || has("type"), "no type");
    for word in node["enum"].as_array().into_iter().flatten() {
        flaw(word.is_string(), "an enum with something else than words");
    }
    for rule in node["x-kubernetes-validations"].as_array().into_iter().flatten() {
        let message = rule["message"].as_str().unwrap_or_default();
        flaw(message.split(' ').count() > 5, "a rule without a sentence for its message");
    }
    flaws
}

#[test]
fn status_and_lists_can_be_owned_in_parts() {
    for definition in 0..3 {
        let status = &schema(definition)["properties"]["status"];
        let required = status["required"].as_array().map_or(0, Vec::len);
        assert_eq!(required, 0, "status fields are all optional");
        let conditions = &status["properties"]["conditions"];
        assert_eq!(conditions["x-kubernetes-list-type"], "map");
        assert_eq!(conditions["x-kubernetes-list-map-keys"][0], "type");
        assert!(
            DEFINITIONS[definition].spec.versions[0]
                .subresources
                .as_ref()
                .unwrap()
                .status
                .is_some()
        );
    }
    let alerts = &schema(0)["properties"]["spec"]["properties"]["alerts"];
    assert_eq!(alerts["x-kubernetes-list-type"], "map");
    assert_eq!(alerts["x-kubernetes-list-map-keys"][0], "name");
    // A node's report has no spec: nobody tells a node anything through it.
    assert!(schema(2)["properties"]["spec"].is_null());
}

#[test]
fn both_kinds_of_watch_share_one_schema() {
    let mut cluster = schema(1);
    let watch = schema(0);
    assert_eq!(cluster["properties"]["status"], watch["properties"]["status"]);
    let spec = &mut cluster["properties"]["spec"];
    // The description may name the kind.
    spec["description"] = watch["properties"]["spec"]["description"].clone();
    assert_eq!(*spec, watch["properties"]["spec"]);
    let scopes = DEFINITIONS.each_ref().map(|definition| definition.spec.scope.as_str());
    assert_eq!(scopes, ["Namespaced", "Cluster", "Cluster"]);
}

#[test]
fn kubectl_finds_and_shows_the_kinds() {
    for (definition, short, columns) in [
        (0, "sw", vec!["Ready", "Reason", "Nodes", "Alerts", "Age"]),
        (1, "csw", vec!["Ready", "Reason", "Nodes", "Alerts", "Age"]),
        (2, "swn", vec!["Ready", "Reason", "Kernel", "Policies", "Age"]),
    ] {
        let definition = DEFINITIONS[definition].clone();
        assert_eq!(definition.spec.names.short_names, Some(vec![short.to_owned()]));
        // Not one of the names: kubectl would take `get securitywatch NAME` for the whole category.
        assert_eq!(definition.spec.names.categories, Some(vec!["security-watch".to_owned()]));
        let shown = definition.spec.versions[0].additional_printer_columns.as_ref().unwrap().iter();
        let shown: Vec<_> = shown
            .filter(|column| column.priority.unwrap_or(0) == 0)
            .map(|column| &column.name)
            .collect();
        assert_eq!(shown, columns);
    }
}
