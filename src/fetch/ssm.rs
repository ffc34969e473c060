//! Parameters of SSM: by name, ten a call; or all under a path.
//!
//! Source: Systems Manager API, GetParameters and GetParametersByPath.

use serde_json::{Value, json};

use crate::aws::json::{CallError, Json, Service};
use crate::fetch::{FetchError, Fetched};
use crate::values::source::{ParameterName, Source};

/// The most that one call takes, and gives.
const BATCH: usize = 10;

/// Values that were found together, each with its variable's name and its own source.
pub(super) type Named = Vec<(String, Source, String)>;

pub(super) async fn parameters(aws: &Json, sources: &[&Source]) -> Vec<(Source, Fetched)> {
    let mut by_region: Vec<(Option<&str>, Vec<&ParameterName>)> = Vec::new();
    for source in sources {
        let Source::Ssm { ssm } = source else { continue };
        match by_region.iter_mut().find(|(region, _)| *region == ssm.region()) {
            Some((_, names)) => names.push(ssm),
            None => by_region.push((ssm.region(), vec![ssm])),
        }
    }
    let mut all = Vec::new();
    for (region, names) in by_region {
        for names in names.chunks(BATCH) {
            all.extend(batch(aws, region, names).await);
        }
    }
    all
}

/// One call; where one of several is denied, one for each: a denial is of the whole call.
async fn batch(aws: &Json, region: Option<&str>, names: &[&ParameterName]) -> Vec<(Source, Fetched)> {
    let source = |name: &ParameterName| Source::Ssm { ssm: name.clone() };
    let answer = get(aws, region, names).await;
    if names.len() > 1 && answer.as_ref().is_err_and(|error| !matches!(error, CallError::Throttled(_))) {
        let mut all = Vec::new();
        for name in names {
            all.extend(Box::pin(batch(aws, region, &[*name])).await);
        }
        return all;
    }
    let asked = region.map(str::to_owned).or(aws.region().await).unwrap_or_default();
    let each = names.iter().map(|name| {
        let value = match &answer {
            Ok(answer) => {
                found(answer, name).map(String::into_bytes).ok_or_else(|| FetchError::Missing { region: asked.clone() })
            }
            Err(error) if error.is(&["ParameterVersionNotFound"]) => Err(FetchError::NoVersion),
            Err(error) => Err(FetchError::of(Service::Ssm, "ssm:GetParameters", error.clone())),
        };
        (source(name), value)
    });
    each.collect()
}

async fn get(aws: &Json, region: Option<&str>, names: &[&ParameterName]) -> Result<Value, CallError> {
    let names: Vec<&str> = names.iter().map(|name| name.as_str()).collect();
    aws.call(Service::Ssm, "GetParameters", region, &json!({"Names": names, "WithDecryption": true})).await
}

/// The parameter that was asked for by name or ARN, and version or label.
fn found(answer: &Value, name: &ParameterName) -> Option<String> {
    let plain = name.without_version();
    let selector = &name.as_str()[plain.len()..];
    let all = answer["Parameters"].as_array()?;
    let is_it = |parameter: &&Value| {
        [&parameter["Name"], &parameter["ARN"]].iter().any(|field| field.as_str() == Some(plain))
            && (parameter["Selector"].as_str().unwrap_or_default() == selector || all.len() == 1)
    };
    all.iter().find(is_it)?["Value"].as_str().map(str::to_owned)
}

/// All parameters right under a path, each as the variable that its last name is.
pub(super) async fn under(aws: &Json, path: &str) -> Result<Named, FetchError> {
    let mut all = Vec::new();
    let mut next = Value::Null;
    loop {
        let mut input = json!({"Path": path, "MaxResults": BATCH, "WithDecryption": true, "Recursive": false});
        if !next.is_null() {
            input["NextToken"] = next;
        }
        let answer = aws.call(Service::Ssm, "GetParametersByPath", None, &input).await;
        let mut answer = answer.map_err(|error| FetchError::of(Service::Ssm, "ssm:GetParametersByPath", error))?;
        for parameter in answer["Parameters"].as_array().into_iter().flatten() {
            all.push(named(parameter)?);
        }
        next = answer["NextToken"].take();
        if next.as_str().is_none_or(str::is_empty) {
            break;
        }
    }
    match all.is_empty() {
        true => Err(FetchError::Empty { region: aws.region().await.unwrap_or_default() }),
        false => Ok(all),
    }
}

fn named(parameter: &Value) -> Result<(String, Source, String), FetchError> {
    let text = |key: &str| parameter[key].as_str().unwrap_or_default().to_owned();
    let full = text("Name");
    let name = full.rsplit('/').next().unwrap_or_default().to_owned();
    match full.parse() {
        Ok(ssm) if !name.is_empty() => Ok((name, Source::Ssm { ssm }, text("Value"))),
        _ => Err(FetchError::NoName(full)),
    }
}
