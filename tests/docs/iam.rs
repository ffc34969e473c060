//! The IAM policies: no more than is needed, and each statement has its reason.

use std::collections::BTreeSet;

use serde_json::Value;

use crate::book::pages;
use crate::repository;

fn statements(file: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(repository().join("packaging/iam").join(file)).unwrap();
    let policy: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(policy["Version"], "2012-10-17");
    policy["Statement"].as_array().unwrap().clone()
}

fn actions(statement: &Value) -> Vec<String> {
    match &statement["Action"] {
        Value::String(one) => vec![one.clone()],
        many => many.as_array().unwrap().iter().map(|action| action.as_str().unwrap().to_owned()).collect(),
    }
}

#[test]
fn each_statement_allows_named_actions_on_named_resources_and_has_its_reason() {
    let pages = pages();
    let page = pages.iter().find(|page| page.name.ends_with("/iam.md")).unwrap();
    let rows: BTreeSet<String> =
        page.prose().filter_map(|(_, line)| line.split('`').nth(1).map(str::to_owned)).collect();
    for file in ["instance.json", "ci.json"] {
        for statement in statements(file) {
            let sid = statement["Sid"].as_str().unwrap();
            assert!(rows.contains(sid), "{sid} of {file} has no reason in docs/src/iam.md");
            assert!(actions(&statement).iter().all(|action| !action.contains('*')), "{sid}");
            let is_any = statement["Resource"] == "*";
            let is_for_any =
                ["GetRegistryToken", "GetPublicRegistryToken", "ReadSecretsTogether", "ReadScanFindingsOfInspector"]
                    .contains(&sid);
            assert_eq!(is_any, is_for_any, "{sid}: {}", statement["Resource"]);
        }
    }
}

/// The SDK's calls in `src/aws`, and what each of them must be allowed.
const CALLS: [(&str, &str); 4] = [
    (".get_object()", "s3:GetObject"),
    (".head_object()", "s3:GetObject"),
    (".get_authorization_token()", "ecr:GetAuthorizationToken"),
    (".describe_image_scan_findings()", "ecr:DescribeImageScanFindings"),
];

#[test]
fn every_call_that_the_program_makes_is_allowed_to_an_instance() {
    let allowed: BTreeSet<String> = statements("instance.json").iter().flat_map(actions).collect();
    let text: String = walk("src/aws").into_iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let made = CALLS.map(|(call, _)| text.matches(call).count());
    assert!(made.iter().all(|count| *count > 0), "{made:?}");
    assert!(CALLS.iter().all(|(_, action)| allowed.contains(*action)), "{allowed:?}");
    let sent = text.matches(".send()").count();
    assert!(sent <= made.iter().sum(), "a call of the SDK in src/aws is not in this test: {sent} of {made:?}");
}

fn walk(folder: &str) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(repository().join(folder)).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => found.extend(walk(path.strip_prefix(repository()).unwrap().to_str().unwrap())),
            false => found.push(path),
        }
    }
    found
}
