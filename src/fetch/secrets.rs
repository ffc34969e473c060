//! Secrets of Secrets Manager: twenty a call where that is allowed, and one by one otherwise.
//!
//! Source: Secrets Manager API, BatchGetSecretValue and GetSecretValue.

use std::collections::HashMap;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::aws::json::{Json, Service};
use crate::fetch::ssm::Named;
use crate::fetch::{FetchError, Fetched};
use crate::values::source::{SecretId, Source};

/// The most that one call takes.
const BATCH: usize = 20;

/// A secret in one of its versions.
type Wanted<'a> = (&'a SecretId, Option<&'a str>);

pub(super) async fn values(aws: &Json, sources: &[&Source]) -> Vec<(Source, Fetched)> {
    let mut wanted: Vec<Wanted<'_>> = Vec::new();
    for source in sources {
        let Source::SecretsManager { secretsmanager, version, .. } = source else { continue };
        let one = (secretsmanager, version.as_deref());
        if !wanted.contains(&one) {
            wanted.push(one);
        }
    }
    let whole = whole(aws, &wanted).await;
    let each = sources.iter().filter_map(|source| {
        let Source::SecretsManager { secretsmanager, key, version } = source else { return None };
        let value = whole.get(&(secretsmanager, version.as_deref()))?.clone();
        let value = value.and_then(|text| match key {
            None => Ok(text),
            Some(key) => of_key(&text, key).map(String::into_bytes),
        });
        Some(((*source).clone(), value))
    });
    each.collect()
}

/// Each secret as its whole text.
async fn whole<'a>(aws: &Json, wanted: &[Wanted<'a>]) -> HashMap<Wanted<'a>, Fetched> {
    let mut all: HashMap<Wanted<'a>, Fetched> = HashMap::new();
    let mut by_region: Vec<(Option<&str>, Vec<&'a SecretId>)> = Vec::new();
    for (id, _) in wanted.iter().filter(|(_, version)| version.is_none()) {
        match by_region.iter_mut().find(|(region, _)| *region == id.region()) {
            Some((_, ids)) => ids.push(id),
            None => by_region.push((id.region(), vec![id])),
        }
    }
    for (region, ids) in by_region {
        for ids in ids.chunks(BATCH).filter(|ids| ids.len() > 1) {
            let found = batch(aws, region, ids).await;
            all.extend(found.into_iter().map(|(id, value)| ((id, None), value)));
        }
    }
    for one in wanted {
        if !all.contains_key(one) {
            all.insert(*one, single(aws, *one).await);
        }
    }
    all
}

/// What one call gives; of those that it does not give, each is asked for by itself, which says why.
async fn batch<'a>(aws: &Json, region: Option<&str>, ids: &[&'a SecretId]) -> Vec<(&'a SecretId, Fetched)> {
    let names: Vec<&str> = ids.iter().map(|id| id.as_str()).collect();
    let answer =
        aws.call(Service::SecretsManager, "BatchGetSecretValue", region, &json!({"SecretIdList": names})).await;
    let answer = answer.unwrap_or_default();
    let all = answer["SecretValues"].as_array().map(Vec::as_slice).unwrap_or_default();
    let found = |id: &SecretId| all.iter().find(|secret| is(secret, id) && has_value(secret)).map(value);
    ids.iter().filter_map(|id| Some((*id, found(id)?))).collect()
}

/// A secret is named by its name, its ARN, or its ARN without the six letters at the end.
fn is(secret: &Value, id: &SecretId) -> bool {
    let arn = secret["ARN"].as_str().unwrap_or_default();
    let short = arn.rsplit_once('-').map(|(short, _)| short);
    [secret["Name"].as_str(), Some(arn), short].contains(&Some(id.as_str()))
}

async fn single(aws: &Json, (id, version): Wanted<'_>) -> Fetched {
    let mut input = json!({"SecretId": id.as_str()});
    if let Some(version) = version {
        // An ID is a UUID; a staging label has no such form.
        let is_id = version.len() == 36 && version.bytes().filter(|byte| *byte == b'-').count() == 4;
        input[if is_id { "VersionId" } else { "VersionStage" }] = version.into();
    }
    match aws.call(Service::SecretsManager, "GetSecretValue", id.region(), &input).await {
        Ok(secret) => value(&secret),
        Err(error) if error.is(&["ResourceNotFoundException"]) && version.is_some() && is_there(aws, id).await => {
            Err(FetchError::NoVersion)
        }
        Err(error) if error.is(&["ResourceNotFoundException"]) => {
            let region = id.region().map(str::to_owned).or(aws.region().await);
            Err(FetchError::Missing { region: region.unwrap_or_default() })
        }
        Err(error) => Err(FetchError::of(Service::SecretsManager, "secretsmanager:GetSecretValue", error)),
    }
}

/// Whether the secret itself exists: its answer to a missing version is the same.
async fn is_there(aws: &Json, id: &SecretId) -> bool {
    let input = json!({"SecretId": id.as_str()});
    aws.call(Service::SecretsManager, "GetSecretValue", id.region(), &input).await.is_ok()
}

fn has_value(secret: &Value) -> bool {
    secret["SecretString"].is_string() || secret["SecretBinary"].is_string()
}

/// A text, or bytes.
fn value(secret: &Value) -> Fetched {
    match (secret["SecretString"].as_str(), secret["SecretBinary"].as_str()) {
        (Some(text), _) => Ok(text.as_bytes().to_vec()),
        (None, Some(bytes)) => BASE64_STANDARD.decode(bytes).map_err(|_| FetchError::Binary),
        (None, None) => Err(FetchError::Binary),
    }
}

fn object(text: &[u8]) -> Result<serde_json::Map<String, Value>, FetchError> {
    match serde_json::from_slice(text) {
        Ok(Value::Object(object)) => Ok(object),
        _ => Err(FetchError::NotJson),
    }
}

fn of_key(text: &[u8], key: &str) -> Result<String, FetchError> {
    object(text)?.get(key).and_then(plain).ok_or_else(|| FetchError::NoKey(key.to_owned()))
}

/// A text, a number, `true` or `false` as text.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

/// All keys of a secret that is a JSON object, each as a variable.
pub(super) async fn keys(aws: &Json, id: &SecretId) -> Result<Named, FetchError> {
    let all = object(&single(aws, (id, None)).await?)?;
    let each = all.iter().map(|(key, value)| {
        if key.is_empty() || key.contains(['=', '\0']) {
            return Err(FetchError::NoName(key.clone()));
        }
        let source = Source::SecretsManager { secretsmanager: id.clone(), key: Some(key.clone()), version: None };
        Ok((key.clone(), source, plain(value).ok_or_else(|| FetchError::NoKey(key.clone()))?))
    });
    each.collect()
}
