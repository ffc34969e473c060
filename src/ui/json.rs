//! The same for programs: `--format json`.

use serde_json::{Value, json};

use crate::deploy::plan::Plan;
use crate::error::Failure;
use crate::modes::operation::Operation;

/// The version of the plan's JSON form.
pub const FORMAT: u32 = 1;

/// A plan: `{format, event, name, changes, assumptions, notes, interruption, steps: [{run, changes, best_effort, undo,
/// options, changed_options}]}`. `run` is the very text that the plan prints.
pub fn plan(plan: &Plan) -> Value {
    let steps: Vec<Value> = plan
        .actions
        .iter()
        .map(|action| {
            let mut step = json!({
                "run": action.step.to_string(),
                "changes": action.step.is_change(),
                "best_effort": action.best_effort,
                "undo": action.undo.iter().map(ToString::to_string).collect::<Vec<_>>(),
            });
            if let Operation::Create(spec) = &action.step {
                step["options"] = json!(spec.run_options());
                step["changed_options"] = json!(plan.changed_options);
            }
            if let Operation::Compose(compose) = &action.step {
                step["details"] = json!(compose.details());
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
        "interruption": plan.interruption,
        "steps": steps,
    })
}

/// A failure: `{error: {kind, exit_code, message, evidence, next}}`.
pub fn failure(failure: &Failure) -> Value {
    json!({ "error": {
        "kind": failure.kind,
        "exit_code": failure.kind.exit_code(),
        "message": failure.message,
        "evidence": failure.evidence,
        "next": failure.next,
    }})
}
