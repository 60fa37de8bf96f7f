//! Users, roles and API keys over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use ulid::Ulid;

use super::privilege::Privilege;
use super::{Caller, Key, User, forbidden, new_secret};
use crate::alerts::config::stamp;
use crate::answer::{Answer, Reply, json, text};
use crate::targets::path_id;
use crate::{Shared, body};

const RESERVED: [&str; 9] =
    ["admin", "user", "role", "null", "undefined", "none", "empty", "password", "username"];

pub(crate) async fn users(State(shared): State<Arc<Shared>>) -> Reply {
    let store = shared.store();
    let accounts = &store.accounts;
    let names = std::iter::once(&accounts.root.username).chain(accounts.users.keys());
    let shown: Vec<Value> = names.map(|name| json!({"id": name, "method": "native"})).collect();
    json(&Value::Array(shown))
}

/// Answers with the password, shown this once.
pub(crate) async fn add_user(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Reply {
    let roles = role_names(&shared, request).await?;
    let mut store = shared.store();
    let accounts = &mut store.accounts;
    not_root(&accounts.root.username, &name)?;
    check_name(&name).map_err(|why| Answer::bad_request(format!("invalid Username: {why}")))?;
    if accounts.users.contains_key(&name) {
        return Err(Answer::bad_request(format!("User {name} already exists")));
    }
    let unknown = accounts.unknown_roles(&roles);
    if !unknown.is_empty() {
        return Err(Answer::bad_request(json!({"non_existent_roles": unknown}).to_string()));
    }
    let password = new_secret();
    accounts.users.insert(name, User { password: password.clone(), roles });
    text(password)
}

pub(crate) async fn delete_user(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Reply {
    let mut store = shared.store();
    not_root(&store.accounts.root.username, &name)?;
    match store.accounts.users.remove(&name) {
        Some(_) => json(&json!(format!("deleted user: {name}"))),
        None => Err(no_user()),
    }
}

pub(crate) async fn new_password(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Reply {
    let mut store = shared.store();
    not_root(&store.accounts.root.username, &name)?;
    let user = store.accounts.users.get_mut(&name).ok_or_else(no_user)?;
    user.password = new_secret();
    text(user.password.clone())
}

/// Anybody may see one's own.
pub(crate) async fn user_roles(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    Path(name): Path<String>,
) -> Reply {
    if caller.name != name && !caller.is_admin() {
        return Err(forbidden());
    }
    let store = shared.store();
    let user = store.accounts.users.get(&name).ok_or_else(no_user)?;
    let roles: BTreeMap<&String, Value> = user
        .roles
        .iter()
        .map(|role| (role, show_role(store.accounts.roles.get(role).map(Vec::as_slice))))
        .collect();
    json(&json!({"roles": roles, "group_roles": {}}))
}

pub(crate) async fn change_user_roles(
    State(shared): State<Arc<Shared>>,
    Path((name, how)): Path<(String, String)>,
    request: Request,
) -> Reply {
    let roles = role_names(&shared, request).await?;
    let mut store = shared.store();
    let user = store.accounts.users.get_mut(&name).ok_or_else(no_user)?;
    user.roles.retain(|role| !roles.contains(role));
    match how.as_str() {
        "add" => user.roles.extend(roles),
        "remove" => {}
        _ => return Ok(StatusCode::NOT_FOUND.into_response()),
    }
    json(&json!(format!("Roles updated successfully for {name}")))
}

pub(crate) async fn roles(State(shared): State<Arc<Shared>>) -> Reply {
    let roles = json!(shared.store().accounts.roles);
    json(&roles)
}

/// An unknown role is an empty one.
pub(crate) async fn role(State(shared): State<Arc<Shared>>, Path(name): Path<String>) -> Reply {
    let shown = show_role(shared.store().accounts.roles.get(&name).map(Vec::as_slice));
    json(&shown)
}

pub(crate) async fn put_role(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
    request: Request,
) -> Reply {
    let bytes = body::read_json(request, shared.config.max_body_bytes).await?.bytes;
    let document: Value = body::parse(&bytes)?;
    check_name(&name).map_err(|why| Answer::bad_request(format!("Validation Error: {why}")))?;
    let privileges: Vec<Privilege> =
        serde_json::from_value(document).map_err(|error| body::deserialize_error(&error))?;
    shared.store().accounts.roles.insert(name, privileges);
    Ok(StatusCode::OK.into_response())
}

pub(crate) async fn delete_role(
    State(shared): State<Arc<Shared>>,
    Path(name): Path<String>,
) -> Reply {
    let mut store = shared.store();
    if store.accounts.users.values().any(|user| user.roles.contains(&name)) {
        return Err(Answer::bad_request(
            "Cannot perform this operation as role is assigned to an existing user.",
        ));
    }
    store.accounts.roles.remove(&name);
    Ok(StatusCode::OK.into_response())
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct NewKey {
    key_name: String,
    roles: Vec<String>,
}

pub(crate) async fn add_key(
    State(shared): State<Arc<Shared>>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Reply {
    let bytes = body::read_json(request, shared.config.max_body_bytes).await?.bytes;
    let asked: NewKey = body::parse(&bytes)?;
    let mut store = shared.store();
    let accounts = &mut store.accounts;
    let unknown = accounts.unknown_roles(&asked.roles);
    if !unknown.is_empty() {
        return Err(Answer::bad_request(format!("Invalid Roles: {unknown:?}")));
    }
    if accounts.keys.values().any(|key| key.name == asked.key_name) {
        let taken = format!("Duplicate key name: {}", asked.key_name);
        return Err(Answer::Text(StatusCode::CONFLICT, taken));
    }
    let secret = new_secret();
    let parts = [(0, 8), (8, 12), (12, 16), (16, 20), (20, 32)];
    let parts: Vec<&str> = parts.iter().filter_map(|&(a, b)| secret.get(a..b)).collect();
    let key = Key {
        secret: parts.join("-"),
        name: asked.key_name,
        roles: asked.roles,
        created_by: caller.name,
        created: shared.now(),
    };
    let id = Ulid::new();
    let shown = show_key(id, &key, &key.secret);
    accounts.keys.insert(id, key);
    json(&shown)
}

pub(crate) async fn keys(State(shared): State<Arc<Shared>>) -> Reply {
    let store = shared.store();
    let keys = store.accounts.keys.iter();
    let shown = keys.map(|(id, key)| {
        let end = key.secret.get(key.secret.len().saturating_sub(4)..).unwrap_or_default();
        show_key(*id, key, &format!("****{end}"))
    });
    json(&Value::Array(shown.collect()))
}

/// The key in full again.
pub(crate) async fn key(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Reply {
    let id = path_id(&id)?;
    let store = shared.store();
    let key = store.accounts.keys.get(&id).ok_or_else(no_key)?;
    json(&show_key(id, key, &key.secret))
}

pub(crate) async fn delete_key(State(shared): State<Arc<Shared>>, Path(id): Path<String>) -> Reply {
    let id = path_id(&id)?;
    let key = shared.store().accounts.keys.remove(&id).ok_or_else(no_key)?;
    json(&json!({
        "keyId": id, "keyName": key.name, "message": "API key deleted successfully",
    }))
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct KeyToValidate {
    api_key: String,
}

pub(crate) async fn validate_key(State(shared): State<Arc<Shared>>, request: Request) -> Reply {
    let bytes = body::read_json(request, shared.config.max_body_bytes).await?.bytes;
    let asked: KeyToValidate = body::parse(&bytes)?;
    let valid = shared.store().accounts.keys.values().any(|key| key.secret == asked.api_key);
    json(&json!({"valid": valid}))
}

async fn role_names(shared: &Shared, request: Request) -> Result<Vec<String>, Answer> {
    let bytes = body::read(request, shared.config.max_body_bytes).await?.bytes;
    if bytes.is_empty() { Ok(Vec::new()) } else { body::parse(&bytes) }
}

fn show_role(privileges: Option<&[Privilege]>) -> Value {
    json!({"actions": privileges.unwrap_or_default(), "roleType": "user"})
}

fn show_key(id: Ulid, key: &Key, secret: &str) -> Value {
    json!({
        "keyId": id,
        "apiKey": secret,
        "keyName": key.name,
        "roles": key.roles,
        "createdBy": key.created_by,
        "createdAt": stamp(key.created),
        "modifiedAt": stamp(key.created),
    })
}

fn not_root(root: &str, name: &str) -> Result<(), Answer> {
    if name == root {
        return Err(Answer::bad_request("Cannot call this API for root admin user"));
    }
    Ok(())
}

fn no_user() -> Answer {
    Answer::Text(StatusCode::NOT_FOUND, "User does not exist".to_owned())
}

fn no_key() -> Answer {
    Answer::not_recorded("an unknown API key id")
}

fn check_name(name: &str) -> Result<(), &'static str> {
    if !(3..=64).contains(&name.chars().count()) {
        return Err("Username should be between 3 and 64 chars long");
    }
    if RESERVED.contains(&name) {
        return Err("Username is reserved");
    }
    if !name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.@".contains(c)) {
        return Err(
            "Username contains invalid characters. Only alphanumeric characters and special characters \
             (underscore, hyphen and dot) are allowed",
        );
    }
    Ok(())
}
