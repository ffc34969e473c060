//! What changes where another revision is taken for what runs: two plans that no host was asked for.

use std::path::Path;

use crate::modes::compose;
use crate::modes::compose::against::services;
use crate::modes::compose::operation::ComposeOperation;
use crate::modes::operation::{Operation, Plan};
use crate::values::options::{SetOption, changes};

/// Says in `plan` what is otherwise than in the plan of `before`, the revision at `path`.
pub(crate) fn compare(plan: &mut Plan, before: &Plan, path: &Path) {
    plan.compared_with = Some(format!("{}; what really runs was not looked at", path.display()));
    if plan.name != before.name {
        plan.notes.push(format!("the name was {}: what runs under that name is not touched", before.name));
    }
    let changed = services(plan, before);
    plan.changed_options = changes(&options(before), &options(plan));
    plan.changed_options.extend(compose::against::options(plan, before, &changed));
    for action in &mut plan.actions {
        if let Operation::Compose(ComposeOperation::Up { services, .. }) = &mut action.operation {
            services.clone_from(&changed);
        }
    }
}

fn options(plan: &Plan) -> Vec<SetOption> {
    let has_changes = plan.actions.iter().filter(|action| action.operation.has_changed_options());
    has_changes.flat_map(|action| action.operation.options()).collect()
}
