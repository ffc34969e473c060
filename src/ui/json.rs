//! The same for programs: `--format json`.

use serde_json::{Value, json};

use crate::deploy::plan::Operation as _;
use crate::error::Failure;
use crate::modes::operation::Plan;

/// The version of the plan's JSON form.
pub(crate) const FORMAT: u32 = 1;

/// A plan: `{format, event, name, changes, assumptions, notes, would_fail, interruption, changed_options: [{name, old, new}], steps:
/// [{run, changes, role, best_effort, undo, options: [{name, value}], details}]}`. `run` is the very text that the plan
/// prints.
pub fn plan(plan: &Plan) -> Value {
    plan_with(plan, false)
}

/// The same; `show_values`: options of appspec.yml are shown although they look like secrets.
pub fn plan_with(plan: &Plan, show_values: bool) -> Value {
    let steps: Vec<Value> = plan
        .all()
        .map(|action| {
            let mut step = json!({
                "run": action.operation.to_string(),
                "changes": action.role.changes(),
                "role": action.role,
                "best_effort": action.best_effort,
                "undo": action.undo.iter().map(|undo| undo.operation.to_string()).collect::<Vec<_>>(),
            });
            let mut options = action.operation.options();
            options.iter_mut().for_each(|option| option.value = option.printed(show_values).to_owned());
            if !options.is_empty() {
                step["options"] = json!(options);
            }
            let details = action.operation.details();
            if !details.is_empty() {
                step["details"] = json!(details);
            }
            step
        })
        .collect();
    json!({
        "format": FORMAT,
        "event": plan.event.to_string(),
        "name": plan.name,
        "changes": plan.has_changes(),
        "assumptions": plan.assumptions,
        "notes": plan.notes,
        "would_fail": plan.would_fail.iter().map(|failed| failure(failed)["error"].take()).collect::<Vec<_>>(),
        "interruption": plan.interruption,
        "changed_options": plan.changed_options,
        "steps": steps,
    })
}

/// A failure: `{error: {kind, exit_code, message, evidence, next}}`.
pub(crate) fn failure(failure: &Failure) -> Value {
    json!({ "error": {
        "kind": failure.kind,
        "exit_code": failure.kind.exit_code(),
        "message": failure.message,
        "evidence": failure.evidence,
        "next": failure.next,
    }})
}
