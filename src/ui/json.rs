//! The same for programs: `--format json`.

use serde_json::{Value, json};

use crate::deploy::plan::Operation as _;
use crate::error::Failure;
use crate::modes::operation::Plan;
use crate::values::options::OptionChange;

/// The version of every JSON document that the program prints.
pub(crate) const FORMAT: u32 = 2;

/// A plan, as `packaging/schemas/plan.schema.json` has it. `run` is the very text that the plan prints.
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
        "has_changes": plan.has_changes(),
        "compared_with": plan.compared_with,
        "changes": plan.changed_options.iter().map(change).collect::<Vec<_>>(),
        "assumptions": plan.assumptions,
        "notes": plan.notes,
        "would_fail": plan.would_fail.iter().map(|failed| failure(failed)["error"].take()).collect::<Vec<_>>(),
        "interruption": plan.interruption,
        "steps": steps,
    })
}

/// As a plan has it.
pub(crate) fn change(change: &OptionChange) -> Value {
    let (option, key) = change.option_and_key();
    json!({
        "op": change.kind,
        "service": change.service,
        "option": option,
        "key": key,
        "was": change.was,
        "becomes": change.becomes,
        "sensitive": change.is_sensitive,
    })
}

/// A failure: `{format, error: {kind, exit_code, message, evidence, next}}`.
pub(crate) fn failure(failure: &Failure) -> Value {
    json!({ "format": FORMAT, "error": {
        "kind": failure.kind,
        "exit_code": failure.kind.exit_code(),
        "message": failure.message,
        "evidence": failure.evidence,
        "next": failure.next,
    }})
}
