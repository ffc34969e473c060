#![allow(clippy::unwrap_used)]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::*;

fn all() -> Vec<NameMetrics> {
    let web = NameMetrics {
        name: "web".into(),
        release: Some(ReleaseInfo {
            image: "registry.test/we\"b\\:1.4.2".into(),
            tag: "1.4.2".into(),
            digest: format!("sha256:{}", "ab".repeat(32)),
            deployment: "d-1".into(),
        }),
        up: true,
        healthy: Some(false),
        drift: Some(2),
        leftovers: 1,
        deployments: 121,
        results: vec![("succeeded", 98), ("failed", 1), ("killed", 1)],
        last: Some(LastDeployment {
            succeeded: false,
            ended: 1_796_000_000.25,
            seconds: 4.5,
            moved: 10_485_760,
            down: Some(0.731),
        }),
        ..NameMetrics::default()
    };
    let service = NameMetrics { name: "jobs".into(), up: true, tasks: Some((2, 2)), ..NameMetrics::default() };
    vec![web, service]
}

/// What Python's own client library reads of it: each sample with its labels.
const READ: &str = "
import json, sys
from prometheus_client.parser import text_string_to_metric_families
for family in text_string_to_metric_families(sys.stdin.read()):
    assert family.documentation and family.type in ('gauge', 'counter'), family
    assert family.type != 'counter' or all(sample.name.endswith('_total') for sample in family.samples), family
    for sample in family.samples:
        print(json.dumps([sample.name, sample.labels, float(sample.value)]))
";

/// The schema of the specification, as AWS has published it, of what it demands of a line.
const CHECK: &str = "
import json, sys
from jsonschema import Draft7Validator
schema, lines = json.load(sys.stdin)
for line in lines:
    print(*[error.message for error in Draft7Validator(schema).iter_errors(line)], sep='\\n', end='')
";

fn python(script: &str, input: &str) -> String {
    let python = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/tools/venv/bin/python");
    assert!(python.exists(), "`make setup` installs Python's prometheus-client and jsonschema");
    let mut command = Command::new(python);
    let mut running = command.args(["-c", script]).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    running.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    let output = running.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_parser_of_prometheus_reads_every_sample_with_its_labels_and_what_is_not_known_is_left_out() {
    let text = prometheus(true, &all());
    let samples: Vec<Value> = python(READ, &text).lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let (web, jobs) = (json!({"name": "web"}), json!({"name": "jobs"}));
    let of = |result: &str| json!({"name": "web", "result": result});
    let release = json!({"name": "web", "image": "registry.test/we\"b\\:1.4.2", "tag": "1.4.2",
        "digest": format!("sha256:{}", "ab".repeat(32)), "deployment": "d-1"});
    let wanted = json!([
        ["balehook_build_info", {"version": env!("CARGO_PKG_VERSION")}, 1.0],
        ["balehook_engine_up", {}, 1.0],
        ["balehook_release_info", release, 1.0],
        ["balehook_up", web, 1.0],
        ["balehook_up", jobs, 1.0],
        ["balehook_healthy", web, 0.0],
        ["balehook_stopped", web, 0.0],
        ["balehook_stopped", jobs, 0.0],
        ["balehook_deployment_under_way", web, 0.0],
        ["balehook_deployment_under_way", jobs, 0.0],
        ["balehook_drift", web, 2.0],
        ["balehook_leftovers", web, 1.0],
        ["balehook_leftovers", jobs, 0.0],
        ["balehook_tasks_running", jobs, 2.0],
        ["balehook_tasks_wanted", jobs, 2.0],
        ["balehook_deployments_total", web, 121.0],
        ["balehook_deployments_total", jobs, 0.0],
        ["balehook_last_deployment_success", web, 0.0],
        ["balehook_last_deployment_timestamp_seconds", web, 1_796_000_000.25],
        ["balehook_last_deployment_duration_seconds", web, 4.5],
        ["balehook_last_deployment_downtime_seconds", web, 0.731],
        ["balehook_last_deployment_transferred_bytes", web, 10_485_760.0],
        ["balehook_recent_deployments", of("succeeded"), 98.0],
        ["balehook_recent_deployments", of("failed"), 1.0],
        ["balehook_recent_deployments", of("killed"), 1.0],
    ]);
    assert_eq!(Value::from(samples), wanted);
}

#[test]
fn an_engine_that_does_not_answer_is_said_and_nothing_of_names() {
    let text = python(READ, &prometheus(false, &[]));
    let version = env!("CARGO_PKG_VERSION");
    let wanted = format!(
        "[\"balehook_build_info\", {{\"version\": \"{version}\"}}, 1.0]\n[\"balehook_engine_up\", {{}}, 0.0]\n"
    );
    assert_eq!(text, wanted);
}

#[test]
fn each_name_is_a_line_that_cloudwatchs_specification_accepts_and_every_metric_has_a_value() {
    let text = emf(&all(), "host-a", 1_796_000_000_000);
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let schema: Value = serde_json::from_str(SCHEMA).unwrap();
    assert_eq!(python(CHECK, &json!([schema, lines]).to_string()), "");
    let broken = json!([schema, [{ "_aws": { "Timestamp": -1, "CloudWatchMetrics": [] } }]]);
    assert!(python(CHECK, &broken.to_string()).contains("-1 is less than the minimum"), "the schema refuses something");
    for line in &lines {
        let directive = &line["_aws"]["CloudWatchMetrics"][0];
        let metrics = directive["Metrics"].as_array().unwrap();
        assert!(metrics.iter().all(|metric| line[metric["Name"].as_str().unwrap()].is_number()), "{line}");
        assert!(line[directive["Dimensions"][0][0].as_str().unwrap()].is_string(), "{line}");
    }
    let shown = |line: &Value, keys: [&str; 6]| keys.map(|key| line[key].clone());
    assert_eq!(
        shown(&lines[0], ["Name", "Host", "Deployment", "Up", "Healthy", "Drift"]),
        [json!("web"), json!("host-a"), json!("d-1"), json!(1.0), json!(0.0), json!(2.0)]
    );
    assert_eq!(
        shown(&lines[1], ["Name", "TasksRunning", "Healthy", "Drift", "Image", "LastDeploymentSuccess"]),
        [json!("jobs"), json!(2.0), Value::Null, Value::Null, Value::Null, Value::Null]
    );
}

/// Source: Amazon CloudWatch, "Specification: Embedded metric format", its JSON schema; written anew from it.
const SCHEMA: &str = r#"{
  "type": "object",
  "required": ["_aws"],
  "properties": {
    "_aws": {
      "type": "object",
      "required": ["Timestamp", "CloudWatchMetrics"],
      "properties": {
        "Timestamp": { "type": "integer", "minimum": 0 },
        "CloudWatchMetrics": {
          "type": "array",
          "items": {
            "type": "object",
            "required": ["Namespace", "Dimensions", "Metrics"],
            "properties": {
              "Namespace": { "type": "string", "minLength": 1, "maxLength": 1024, "pattern": "^(.*)$" },
              "Dimensions": {
                "type": "array", "minItems": 1,
                "items": { "type": "array", "minItems": 0, "maxItems": 30,
                  "items": { "type": "string", "minLength": 1, "maxLength": 250 } }
              },
              "Metrics": {
                "type": "array", "maxItems": 100,
                "items": {
                  "type": "object", "required": ["Name"],
                  "properties": {
                    "Name": { "type": "string", "minLength": 1, "maxLength": 1024 },
                    "Unit": { "enum": ["Seconds", "Microseconds", "Milliseconds", "Bytes", "Kilobytes", "Megabytes", "Gigabytes",
                      "Terabytes", "Bits", "Percent", "Count", "None"] },
                    "StorageResolution": { "enum": [1, 60] }
                  }
                }
              }
            }
          }
        }
      }
    }
  }
}"#;
