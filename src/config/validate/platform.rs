//! Files for CodeDeploy's other platforms: balehook deploys on Linux hosts alone, so that is said once, and not of each key.

use crate::config::field::Field;
use crate::config::rules::OTHER_PLATFORM;
use crate::config::validate::SECTION;

/// Whether the file is for another platform, and nobody has written our section into it.
/// Source: the AppSpec reference: files of Lambda and ECS have `Resources`, those of hosts `os`.
pub(crate) fn is_other(root: &Field<'_>) -> bool {
    if root.get(SECTION).is_some() {
        return false;
    }
    let resources = root.get("Resources");
    let types = resources.iter().flat_map(|list| list.each().collect::<Vec<_>>());
    let found = types.filter_map(|entry| type_of(&entry)).find_map(platform);
    let (place, what) = match (found, root.key("AWSTemplateFormatVersion"), root.get("os")) {
        (Some(platform), _, _) => (root.key("Resources"), format!("this file is for {platform}")),
        (None, Some(key), _) => (Some(key), "this file is a template of CloudFormation".to_owned()),
        (None, None, Some(os)) if os.node.as_text() == Some("windows") => {
            (Some(os), "this file is for Windows hosts".to_owned())
        }
        (None, None, _) => return false,
    };
    let message = format!("{what}: balehook deploys on Linux hosts, CodeDeploy's platform EC2/On-premises");
    let place = place.unwrap_or_else(|| root.clone());
    place.broken(OTHER_PLATFORM, message, "`balehook explain other-platform` shows what such a file begins with");
    true
}

/// The `Type` of a resource, which stands below a name of its own.
fn type_of<'a>(entry: &Field<'a>) -> Option<&'a str> {
    let (_, resource) = entry.node.as_mapping()?.first()?;
    resource.get("Type").and_then(|(_, kind)| kind.as_text())
}

fn platform(kind: &str) -> Option<&'static str> {
    match kind {
        "AWS::ECS::Service" => Some("Amazon ECS"),
        "AWS::Lambda::Function" => Some("AWS Lambda"),
        _ => None,
    }
}
