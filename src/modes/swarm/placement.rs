//! Which nodes a service's constraints leave it. Source: swarmkit, `manager/constraint`.
//!
//! A spec whose constraints no node meets must not be written. The swarm compares the tasks that run with the constraints in
//! force whenever a node reports something new, and ends those that do not meet them: the old tasks too.
//! Source: swarmkit, `orchestrator/constraintenforcer`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::error::{Failure, Kind};
use crate::modes::swarm::observe::text;

const NODE_LABELS: &str = "node.labels.";
const ENGINE_LABELS: &str = "engine.labels.";

/// What constraints may compare of one node, by the key that a constraint has for it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NodeProperties(BTreeMap<String, String>);

impl NodeProperties {
    /// Reads a node as the engine describes it.
    pub fn of(node: &Value) -> Self {
        let description = &node["Description"];
        let fixed = [
            ("node.id", &node["ID"]),
            ("node.hostname", &description["Hostname"]),
            ("node.role", &node["Spec"]["Role"]),
            ("node.platform.os", &description["Platform"]["OS"]),
        ];
        let mut properties: BTreeMap<_, _> = fixed.map(|(key, value)| (key.to_owned(), text(value))).into();
        for (prefix, labels) in
            [(NODE_LABELS, &node["Spec"]["Labels"]), (ENGINE_LABELS, &description["Engine"]["Labels"])]
        {
            let labels = labels.as_object().into_iter().flatten();
            properties.extend(labels.map(|(name, value)| (format!("{prefix}{name}"), text(value))));
        }
        Self(properties)
    }

    /// Whether the node meets a constraint. One that cannot be decided here, such as `node.ip`, counts as met.
    fn meets(&self, constraint: &str) -> bool {
        let Some((key, is_equal)) = split(constraint) else { return true };
        let (key, wanted, key_is_label) = key;
        match self.0.get(&key) {
            Some(value) => (value.to_lowercase() == wanted) == is_equal,
            // A label that a node lacks is the empty text.
            None => !key_is_label || !is_equal,
        }
    }
}

/// The key, the value in lower case, whether the key is a label's; and whether the two must be equal.
fn split(constraint: &str) -> Option<((String, String, bool), bool)> {
    let equal = constraint.split_once("==").map(|parts| (parts, true));
    let ((key, value), is_equal) = equal.or_else(|| constraint.split_once("!=").map(|parts| (parts, false)))?;
    let key = key.trim();
    // The names of labels are compared as they are, all else without case.
    let prefix = [NODE_LABELS, ENGINE_LABELS].into_iter().find(|prefix| key.to_lowercase().starts_with(prefix));
    let key = match prefix {
        Some(prefix) => format!("{prefix}{}", &key[prefix.len()..]),
        None => key.to_lowercase(),
    };
    Some(((key, value.trim().to_lowercase(), prefix.is_some()), is_equal))
}

/// The failure where no node meets all constraints, with the constraint to blame. No nodes: nothing is known of them.
pub(crate) fn unmet<'a>(constraints: &'a [String], nodes: &[NodeProperties]) -> Option<(Failure, &'a str)> {
    let mut left: Vec<&NodeProperties> = nodes.iter().collect();
    for (place, constraint) in constraints.iter().enumerate() {
        let before = left.len();
        left.retain(|node| node.meets(constraint));
        if left.is_empty() && before > 0 {
            return Some((failure(constraint, &constraints[..place], nodes), constraint));
        }
    }
    None
}

fn failure(constraint: &str, others: &[String], nodes: &[NodeProperties]) -> Failure {
    let is_met = nodes.iter().any(|node| node.meets(constraint));
    let message = match (is_met, others) {
        (true, others) => format!("no node of the swarm meets `{constraint}` and also `{}`", others.join("`, `")),
        (false, _) => format!("no node of the swarm meets `{constraint}`"),
    };
    let next = match constraint
        .split_once("==")
        .and_then(|(key, value)| Some((key.trim().strip_prefix(NODE_LABELS)?, value)))
    {
        Some((label, value)) => format!("docker node update --label-add {label}={} NODE, or change it", value.trim()),
        None => "change it; docker node ls and docker node inspect NODE say what the nodes have".to_owned(),
    };
    Failure::new(Kind::Container, message).next(next)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn nodes() -> Vec<NodeProperties> {
        let node = |id: &str, role: &str, labels: Value| {
            NodeProperties::of(&json!({
                "ID": id,
                "Spec": { "Role": role, "Labels": labels },
                "Description": {
                    "Hostname": format!("host-{id}"),
                    "Platform": { "OS": "linux", "Architecture": "x86_64" },
                    "Engine": { "Labels": { "Storage": "SSD" } },
                },
            }))
        };
        vec![node("a", "manager", json!({ "zone": "North" })), node("b", "worker", json!({}))]
    }

    fn of(constraints: &[&str]) -> Option<(String, String)> {
        let constraints: Vec<String> = constraints.iter().map(ToString::to_string).collect();
        unmet(&constraints, &nodes()).map(|(failure, constraint)| (failure.message, constraint.to_owned()))
    }

    #[test]
    fn a_constraint_that_a_node_meets_is_none_of_our_business() {
        for constraint in [
            "node.id==b", "node.hostname == HOST-A", "NODE.ROLE==Worker", "node.platform.os!=windows",
            "node.labels.zone==north", "Node.Labels.zone!=north", "engine.labels.Storage==ssd",
            "node.labels.absent!=x", "node.ip==10.0.0.0/8", "node.platform.arch==amd64",
        ] {
            assert_eq!(of(&[constraint]), None, "{constraint}");
        }
        assert_eq!(of(&["node.role==manager", "node.labels.zone==north"]), None);
    }

    #[test]
    fn a_constraint_that_no_node_meets_is_named() {
        for constraint in [
            "node.id==c", "node.role!=MANAGER ", "node.platform.os==windows", "node.labels.Zone==north",
            "node.labels.absent==x", "engine.labels.Storage!=ssd",
        ] {
            let constraints =
                if constraint.contains("role") { vec![constraint, "node.id==a"] } else { vec![constraint] };
            assert!(
                of(&constraints).is_some_and(|(message, _)| message.starts_with("no node of the swarm meets")),
                "{constraint}"
            );
        }
        let both =
            ("no node of the swarm meets `node.id==b` and also `node.role==manager`".into(), "node.id==b".into());
        assert_eq!(of(&["node.role==manager", "node.id==b"]), Some(both));
    }

    #[test]
    fn the_remedy_for_a_label_is_the_command_that_adds_it() {
        let next = |constraint: &str| {
            unmet(&[constraint.to_owned()], &nodes()).and_then(|(failure, _)| failure.next).unwrap_or_default()
        };
        assert_eq!(next("node.labels.disk == none"), "docker node update --label-add disk=none NODE, or change it");
        assert!(next("node.id==c").contains("docker node inspect"), "{}", next("node.id==c"));
    }

    #[test]
    fn without_nodes_nothing_is_judged() {
        assert!(unmet(&["node.id==c".to_owned()], &[]).is_none());
    }
}
